# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""How requests reach the handlers: ``git://`` and HTTP."""
