# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""``git-upload-pack``: the service for clones and fetches."""
