"""What PyTorch wrote down of itself, in files beside a run: the flight recorder, the snapshot of a card's memory (pure)."""
