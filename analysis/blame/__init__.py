"""A window against its run's baseline: what it was lost to. Reads stacks as `flame` folds them."""
