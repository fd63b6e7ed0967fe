"""Arithmetic over series in a small language (docs/expressions.md): text in, columns with a unit out. Knows no store."""
