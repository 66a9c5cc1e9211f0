# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""One table: its sections, reading and writing it, and several tables seen as one."""
