"""Benchmarks beside the peers: ``python -m tests.benchmarks``; pytest does not collect them."""
