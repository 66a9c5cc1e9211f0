"""Mutants: faults put into the code one at a time, each of which the tests must notice.

``python -m tests.mutants [--only NAME] [--jobs N]`` runs, for each mutation, the test files that
should notice it, in a copy of the tree.
"""
