"""The collector process, whose rules wait for seconds where they wait for minutes: the arguments are those of `python -m collectors`."""

import sys

from collectors import __main__
from collectors.analysis.findings import life, pace, spent
from collectors.judging import collector

life.HUNG_S, life.STILL_S, life.SILENT_S = 12.0, 8.0, 40.0
spent.SETTLED_S, spent.WINDOW_S = 4.0, 8.0
pace.LONG_CHECKPOINT_S, pace.CHECKPOINT_STEPS = 1.5, 10.0
collector.RUN_RULES = tuple(rule._replace(every_s=2.0) for rule in collector.RUN_RULES)
sys.exit(__main__.main(sys.argv[1:]))
