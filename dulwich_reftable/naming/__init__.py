# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Names of refs: which are legal, where symrefs lead, and which exclude each other."""
