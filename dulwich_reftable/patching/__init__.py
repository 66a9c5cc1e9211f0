# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Patching dulwich: the table of what is patched, and what puts the patches in place."""
