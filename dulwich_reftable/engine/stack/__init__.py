# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The stack of tables of one repository: where it lives, its locks, additions and compaction."""
