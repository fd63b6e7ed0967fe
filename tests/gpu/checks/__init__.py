"""One file a check; each has `check(setting, report)` and is a process of its own."""
