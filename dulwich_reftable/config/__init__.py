# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""A repository's configuration, read as git reads it, and what it says about refs and objects."""
