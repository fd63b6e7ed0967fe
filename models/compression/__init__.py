"""Compression that passes gates: teacher, student, int8, every runtime of this host timed, and the fastest that is small and right enough."""
