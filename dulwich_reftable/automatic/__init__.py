# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Reftable repositories for programs that know nothing of this package.

``dulwich_reftable_auto`` (``.py``, and ``.pth`` or ``.start``) and
``dulwich_reftable_stand_ins.py`` are copied to a directory of site-packages. The rest of the
package does not import them.
"""
