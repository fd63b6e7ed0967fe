"""The metrics collector: tails training logs, reads GPU and host counters, samples stacks, and is the only writer of the store."""

VERSION = "0.1.0"  # of the project: pyproject.toml reads it here
