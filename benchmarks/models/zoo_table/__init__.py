"""Build the table of the zoo from what installed libraries and packages state: `python -m benchmarks.models.zoo_table`."""
