"""What a run logged to be looked at, and its checkpoints: where their files lie, and what of them is shown."""
