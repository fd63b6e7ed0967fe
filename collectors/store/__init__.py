"""Where points, log lines, events and stacks are kept: `protocol.py` is the interface, `open.py` the door; an engine is a folder."""
