"""Embeds documents and adds them to an index, without near duplicates. No training."""

import hashlib
import logging
import random

import numpy as np
import torch
from pace import more, unit_done
from torch import nn

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
log = logging.getLogger("indexer")

WORDS = [f"{a}{b}{c}" for a in ("re", "con", "in", "pro") for b in ("duct", "sist", "spect", "tract") for c in ("", "ion", "ive", "or")]
CHUNK, BATCH, DIM = 64, 6, 128


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(4096, DIM)
        layer = nn.TransformerEncoderLayer(DIM, 4, 256, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids):
        return nn.functional.normalize(self.layers(self.embed(ids)).mean(dim=1), dim=-1)


class NearDuplicates:
    """Remembers the smallest hashes of what it has seen."""

    def __init__(self, capacity=200):
        self.seen = []
        self.capacity = capacity

    def signature(self, text, size=5):
        hashes = set()
        for start in range(len(text) - size):
            piece = text[start : start + size]
            hashes.add(int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=4).digest(), "little"))
        return frozenset(sorted(hashes)[:64])

    def is_new(self, text):
        mine = self.signature(text)
        new = all(len(mine & other) < 48 for other in self.seen)
        if new:
            self.seen.append(mine)
            del self.seen[: -self.capacity]
        return new


class Index:
    def __init__(self):
        self.vectors = np.zeros((0, DIM), np.float32)

    def add(self, vectors):
        self.vectors = np.concatenate([self.vectors, vectors])[-5000:]

    def nearest(self, vector):
        return int(np.argmax(self.vectors @ vector)) if len(self.vectors) else -1


def read_document(rng):
    """Usually a page; at times a book comes."""
    return " ".join(rng.choices(WORDS, k=80 + int(150 * more())))


def token_ids(text):
    words = text.split()[:CHUNK]
    ids = [int(hashlib.md5(word.encode()).hexdigest()[:4], 16) % 4096 for word in words]
    return ids + [0] * (CHUNK - len(ids))


def main():
    rng = random.Random(3)
    torch.manual_seed(3)
    encoder, index, duplicates = Encoder().eval(), Index(), NearDuplicates()
    indexed = batches = 0
    while True:
        documents = [read_document(rng) for _ in range(BATCH)]
        fresh = [text for text in documents if duplicates.is_new(text)]
        with torch.no_grad():
            vectors = encoder(torch.tensor([token_ids(text) for text in fresh or documents])).numpy()
        index.add(vectors)
        nearest = index.nearest(vectors[0])
        indexed += len(fresh)
        batches += 1
        unit_done()
        if batches % 5 == 0:
            log.info("%d documents are in the index, the last is near %d", indexed, nearest)


if __name__ == "__main__":
    main()
