"""Each is `python PROGRAM.py LOGS TOLD`: it logs below LOGS with one library, and writes into TOLD what that library reads back.

TOLD is `{"runs": {run: {series: [[step, value], ...]}}, "config": {run: {...}}}`. Between two halves it prints `half` and waits for a line.
"""
