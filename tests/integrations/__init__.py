"""Libraries that people log with write, and the dashboard's tail reads: a suite of its own, with an environment of its own.

make test-integrations
"""
