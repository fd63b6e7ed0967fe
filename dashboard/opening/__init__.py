"""What is known of a page when its address is opened."""
