"""Where the events lie that users add to runs, and what they may be: known to the web process, which writes them, and to their collector."""

from __future__ import annotations

from .process.activity import EXIT, SEEN
from .provenance import RAN

FOLDER, SUFFIX = "events", ".jsonl"  # of the data folder; of its files
MOST_BYTES = 4 << 20  # of a file
RESERVED = frozenset(("start", "end", SEEN, EXIT, RAN))  # kinds that runs and the collector write
OF_THE_COLLECTOR = RESERVED - {"start", "end"}  # a file of a run may not say what only we have seen
