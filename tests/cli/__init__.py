"""Tests of the command line, mostly within this process."""
