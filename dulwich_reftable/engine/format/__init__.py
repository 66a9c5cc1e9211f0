# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Bytes to records and back: varints, records, blocks, and what a block knows of its file."""
