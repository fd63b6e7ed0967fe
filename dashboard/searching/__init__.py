"""The search over everything: runs, series, pages and notes."""
