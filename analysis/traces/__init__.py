"""What a trace of PyTorch's profiler says of a card: its events, its steps, when the card was busy, and why it was idle."""
