"""Storage of points, log lines, events and stacks: `protocol.py` is the interface, `open.py` opens an engine, which is a folder."""
