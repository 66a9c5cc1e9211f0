"""Tests of moving repositories between the formats."""
