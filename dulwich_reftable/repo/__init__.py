# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``Repo``: dulwich's repository with the refs where its configuration says they are."""
