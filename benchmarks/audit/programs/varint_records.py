"""Recommends the next item of a session. Sessions are records in a binary format, which are parsed in Python."""

import random

import torch
from pace import more, unit_done
from torch import nn
from wire import read_record, write_record

ITEMS, LAST, BATCH = 500, 20, 16
EVENTS, DWELL_MS = 1, 2


def shards(rng):
    """Pipelines of generators, as of a shard reader: raw records, without those that are too short."""
    while True:
        length = 24 + int(260 * more())
        items = [rng.randrange(ITEMS) for _ in range(LAST + 1)]
        padding = [rng.getrandbits(34) for _ in range(length)]
        yield write_cached(tuple(items), padding)


_packed_padding = {}


def write_cached(items, padding):
    if len(padding) not in _packed_padding:
        _packed_padding[len(padding)] = write_record({DWELL_MS: padding})
    return write_record({EVENTS: items}) + _packed_padding[len(padding)]


def parsed(raw):
    for blob in raw:
        yield read_record(blob)


def long_enough(records):
    for record in records:
        if len(record[EVENTS]) > LAST:
            yield record


def batched(records, size):
    rows = []
    for record in records:
        rows.append(record[EVENTS][: LAST + 1])
        if len(rows) == size:
            yield torch.tensor(rows)
            rows = []


class NextItem(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.embed = nn.Embedding(ITEMS, dim)
        self.rnn = nn.GRU(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, ITEMS)

    def forward(self, items):
        return self.head(self.rnn(self.embed(items))[0])


def main():
    model = NextItem()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    loader = batched(long_enough(parsed(shards(random.Random(14)))), BATCH)
    running = None
    for step, sessions in enumerate(loader, 1):
        logits = model(sessions[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), sessions[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running = loss.item() if running is None else 0.95 * running + 0.05 * loss.item()
        unit_done()
        if step % 20 == 0:
            print(f"[train] iter {step:>7} | loss {running:.4f}", flush=True)


if __name__ == "__main__":
    main()
