# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``python -m dulwich_reftable``."""

import sys

from .cli import main

sys.exit(main())
