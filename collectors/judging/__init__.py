"""Judges the runs and the machine with no page open: records as they are stored in, findings out."""
