# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""What is put in the place of dulwich's functions: one module a topic."""
