"""The pages: one file a page, and the frame around them."""
