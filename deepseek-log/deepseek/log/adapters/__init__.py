"""Adapters that write what a library's loop reports as a `RunLog`: each in one file, which imports its library only when it is imported.

A failure of ours is one sentence on stderr and never reaches the training (`guard.py`).
"""
