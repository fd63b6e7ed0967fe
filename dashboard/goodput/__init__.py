"""Goodput of stored runs: what is read of them, and what they cost."""
