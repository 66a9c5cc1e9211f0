# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What stands in for parts of dulwich that go around the ref API to files.

Each module is about one part of dulwich. A replacement looks at the repository that it is given: if
its refs are in reftables it does as the original would on files, else it calls the original. Which
attribute each one replaces, and why, is told by the table in :mod:`dulwich_reftable.plugin`.
"""
