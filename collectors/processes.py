"""Which processes belong to a run, and whether they live: start events held against /proc."""
