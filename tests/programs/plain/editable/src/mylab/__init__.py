"""A group's own package, installed with `pip install -e`."""
