"""Expressions over stored series: which series they need, read in buckets, and what comes of them."""
