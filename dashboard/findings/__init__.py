"""What the rules found, as pages and clients ask for it."""
