"""Into the store and out of it: points, lines, formats and expressions."""
