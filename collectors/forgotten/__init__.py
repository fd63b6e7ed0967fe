"""Runs that a user has forgotten: their data leaves the store, and tombstones keep their files from being read again."""
