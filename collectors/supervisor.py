"""A thread per collector: its cadence, its health, its stop."""
