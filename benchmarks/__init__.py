"""What is measured, one module a question, by what it is about: `python -m benchmarks.<folder>.<what> [--json FILE]`."""
