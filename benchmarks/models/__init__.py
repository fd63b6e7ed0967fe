"""What is measured of the models, one module a question; each needs the extra `models` (`make test-models` makes the environment)."""
