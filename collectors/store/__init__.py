"""Storage of points, log lines, events and stacks: `store.py` is the interface, `open.py` opens an engine, which is a folder."""
