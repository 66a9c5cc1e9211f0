# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reading many objects quickly: their types, their contents, and the bytes that packs hold."""
