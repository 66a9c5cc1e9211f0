# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Expiring reflog entries by git's rule."""
