"""What other hosts hand over."""
