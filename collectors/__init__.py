"""What collects: log files, GPU and host counters, stacks of programs, and the store that it is written to.

Collectors are put together in the top-level `collector.py`; those of findings and alerts are `analysis/findings/collector.py` and
`alerts/collector.py`.
"""

VERSION = "0.1.0"  # of the project: pyproject.toml reads it here
