"""What the plan is made of, a noun a file. Pure: no clock, no files, no processes."""
