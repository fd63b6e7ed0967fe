"""A training loop that feeds a GPU, simulated in virtual time, with the exact truth of every idle second. No card was measured for it."""
