# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Patches of dulwich: one table of them, and one module a topic with the functions."""
