"""A trace on demand: a few steps under PyTorch's profiler, asked for by a file, summarised in a file."""
