"""The collector process, whose rules wait for seconds where they wait for minutes: the arguments are those of `python -m collector`."""

import sys

import collector
from analysis.findings import collector as findings_collector
from analysis.findings import ledger, life, pace

life.HUNG_S, life.STILL_S, life.SILENT_S = 12.0, 8.0, 40.0
ledger.SETTLED_S, ledger.WINDOW_S = 4.0, 8.0
pace.LONG_CHECKPOINT_S, pace.CHECKPOINT_STEPS = 1.5, 10.0
findings_collector.RUN_RULES = tuple(rule._replace(every_s=2.0) for rule in findings_collector.RUN_RULES)
sys.exit(collector.main(sys.argv[1:]))
