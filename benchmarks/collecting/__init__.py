"""What the collectors and the sampler cost their machine."""
