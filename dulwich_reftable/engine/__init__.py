# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The reftable stack engine: bytes in, records out. Knows nothing of dulwich."""
