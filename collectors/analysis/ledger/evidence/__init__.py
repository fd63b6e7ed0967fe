"""From what is stored of a run to what the rules need: stacks, counters, and the step log."""
