"""All runs as one table: a row a run, columns made on demand, filtered, sorted and grouped in Python. Nothing here knows Dash or HTTP."""
