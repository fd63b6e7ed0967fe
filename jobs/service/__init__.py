"""The daemon of one user's queue."""
