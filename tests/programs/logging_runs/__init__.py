"""Programs that log as trainings do, each in a style of its own: their output is recorded in tests/data/recorded/logs."""
