"""Jobs on a cluster of Slurm: submitted, followed and ended by its own programs, and runs of the log folder on the node.

`slurm.py` calls the programs, `answers.py` and `reasons.py` read what they print, `handed.py` is what lies in the run's folder for the node, and
`node.py` runs there.
"""
