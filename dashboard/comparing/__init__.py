"""Several runs beside each other: what differs between them, what a key of their configuration did, and which are one run's attempts."""
