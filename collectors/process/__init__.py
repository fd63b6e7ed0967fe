"""Which processes belong to a run, which rank each is, what state the run is in; and the parent of those that we start."""
