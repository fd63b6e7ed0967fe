"""What is said of runs: how often it is right, and what it costs."""
