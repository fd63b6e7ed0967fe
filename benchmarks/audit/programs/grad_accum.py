"""Gradient accumulation; the loss is a closure that weighs each token by its neighbours, token by token."""

import csv
import functools
import sys
from datetime import datetime
from pathlib import Path

import torch
from pace import more, unit_done
from torch import nn

VOCABULARY, LENGTH, MICRO, ACCUMULATE = 200, 40, 8, 4


def timed_to(store):
    """Decorates a function; its last results are kept in `store`."""

    def decorate(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            result = function(*args, **kwargs)
            store[function.__name__] = float(result)
            return result

        return wrapped

    return decorate


last = {}


def make_loss(smoothing):
    """Positions of rare tokens count more; they are looked for in a list of lists."""
    rare = set(range(0, VOCABULARY, 7))

    def weigh_tokens(rows):
        reaches = 1 + round(8 * more())
        weights = []
        for row in rows:
            for at in range(len(row)):
                weight = 1.0
                for reach in range(1, reaches + 1):
                    near = row[max(0, at - reach) : at + reach + 1]
                    weight += sum(token in rare for token in near) / len(near) / reach
                weights.append(weight)
        return torch.tensor(weights)

    @timed_to(last)
    def token_loss(logits, targets):
        weights = weigh_tokens(targets.tolist())
        plain = nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), reduction="none", label_smoothing=smoothing
        )
        return (plain * weights).mean()

    return token_loss


class Tiny(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, dim)
        self.mix = nn.Conv1d(dim, dim, 3, padding=2)
        self.head = nn.Linear(dim, VOCABULARY)

    def forward(self, ids):
        mixed = self.mix(self.embed(ids).transpose(1, 2))[..., : ids.shape[1]]
        return self.head(torch.relu(mixed).transpose(1, 2))


def micro_batches():
    while True:
        ids = torch.randint(0, VOCABULARY, (MICRO, LENGTH + 1))
        yield ids[:, :-1], ids[:, 1:]


def accumulate(model, batches, loss_of, rounds):
    total = 0.0
    for _ in range(rounds):
        ids, targets = next(batches)
        loss = loss_of(model(ids), targets) / rounds
        loss.backward()
        total += loss.item()
    return total


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    model = Tiny()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    train = functools.partial(accumulate, model, micro_batches(), make_loss(0.05), ACCUMULATE)
    with open(folder / "metrics.csv", "w", newline="") as file:
        rows = csv.DictWriter(file, ["timestamp", "step", "loss"])
        rows.writeheader()
        for step in range(10**9):
            optimizer.zero_grad()
            loss = train()
            optimizer.step()
            rows.writerow({"timestamp": datetime.now().isoformat(), "step": step, "loss": round(loss, 5)})
            file.flush()
            unit_done()


if __name__ == "__main__":
    main()
