# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What :func:`dulwich_reftable.install` replaces in dulwich: one table, and one module a topic."""
