"""Blames a line for the time that a window lost against its run's baseline.

`blame.py` asks; `comparison.py` reads both stretches; `judgement.py` decides with `suspect.py`; `reasons.py` adds why; `verdict.py` words it.
"""
