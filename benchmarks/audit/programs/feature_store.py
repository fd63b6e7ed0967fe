"""Features of items in SQLite. What is not there is computed and put there."""

import hashlib
import sqlite3

import numpy as np

DIM = 32
SCHEMA = """
create table if not exists items (key text, version integer, vector blob);
create table if not exists tags (key text, tag text);
"""


class FeatureStore:
    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("pragma journal_mode = memory")
        self.db.execute("pragma synchronous = off")
        self.db.executescript(SCHEMA)
        self.misses = 0

    def fill(self, count):
        rows = [(f"item-{i}", 1, self.compute(f"item-{i}").tobytes()) for i in range(count)]
        self.db.execute("begin")
        self.db.executemany("insert into items values (?, ?, ?)", rows)
        self.db.executemany("insert into tags values (?, ?)", [(row[0], f"tag-{i % 97}") for i, row in enumerate(rows)])
        self.db.execute("commit")

    def compute(self, key):
        seed = int.from_bytes(hashlib.sha1(key.encode()).digest()[:4], "little")
        return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)

    def lookup(self, key):
        """There is no index on the key: a scan of the table."""
        row = self.db.execute("select vector from items where key = ? order by version desc limit 1", (key,)).fetchone()
        return None if row is None else np.frombuffer(row[0], np.float32)

    def popular(self, keys):
        return [key for key in keys if int(key.rpartition("-")[2]) < 300]

    def fetch(self, keys, hot):
        """Popular items are remembered, the others are looked up."""
        vectors = []
        for key in keys:
            vector = hot.get(key)
            if vector is None:
                vector = self.lookup(key)
                self.misses += 1
            vectors.append(vector)
        return np.stack(vectors)
