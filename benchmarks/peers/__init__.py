"""What the store and the pages are measured against."""
