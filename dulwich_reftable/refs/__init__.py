# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""The refs container: dulwich's ref API, reflogs and transactions on reftable stacks."""
