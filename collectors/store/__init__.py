"""Where points, log lines, events and stacks are kept: `protocol.py` is the interface, `sqlite.py` the default engine."""
