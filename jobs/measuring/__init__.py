"""What is measured of jobs while they run, and remembered of their families."""
