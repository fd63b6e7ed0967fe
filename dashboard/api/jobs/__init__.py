"""The queue of jobs over HTTP: for the owner alone."""
