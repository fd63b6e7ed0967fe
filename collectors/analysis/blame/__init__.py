"""A window against its run's normal: what it was lost to. Reads stacks as `flame` folds them."""
