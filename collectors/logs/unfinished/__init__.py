"""What stands behind a file's last newline: the state of a progress bar, or a line that has none."""
