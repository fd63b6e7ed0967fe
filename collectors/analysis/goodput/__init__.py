"""Goodput of a whole run: which of its seconds were training that counted, and what the others went to."""
