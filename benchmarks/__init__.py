"""What is measured, one module a question: `python -m benchmarks.<what> [--json FILE]`."""
