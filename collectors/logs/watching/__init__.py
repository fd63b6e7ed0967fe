"""Notice which files of a log folder are new or have changed."""
