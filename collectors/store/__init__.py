"""Storage of points, log lines, events and stacks: `store.py` is the interface, `engines.py` opens one, which is a folder."""
