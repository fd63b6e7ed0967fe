"""What a window is compared with: the units of work that a run logs, and the steady stretches before it."""
