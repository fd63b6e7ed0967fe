"""The metrics collector: tails training logs, reads GPU and host counters, samples stacks, and is the only writer of the store."""
