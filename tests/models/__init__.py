"""What needs the extra `models`, in an environment of its own: `make test-models`."""
