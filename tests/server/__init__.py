"""Tests of the server; the clients are the real git, over loopback."""
