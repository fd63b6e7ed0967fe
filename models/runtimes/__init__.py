"""What runs an artifact, how long that takes, and which runtime is the fastest of this host."""
