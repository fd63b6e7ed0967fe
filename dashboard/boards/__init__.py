"""Boards: charts that users arrange in YAML files, and what the charts draw (docs/boards.md)."""
