"""The live stack under everything that can happen to it: failures, kills, crowds, odd files."""
