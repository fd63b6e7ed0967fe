"""What the store is measured against."""
