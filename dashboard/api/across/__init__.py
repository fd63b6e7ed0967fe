"""Routes over several runs: what differs between them, and the search over everything."""
