"""A run in one file: to keep it, to send it, to open it with other programs."""
