"""Alerts as pages and clients ask for them."""
