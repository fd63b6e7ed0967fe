"""A model of letters whose batches differ in length. It validates now and then, as it should; nothing is wrong with it."""

import random

import torch
from pace import unit_done
from torch import nn

TEXT = "it was a bright cold day and the clocks were striking as they always do when nobody listens to them at all " * 40
LETTERS = sorted(set(TEXT))
VALIDATE_EVERY = 150


def encode(text):
    return torch.tensor([LETTERS.index(letter) for letter in text])


class LetterModel(nn.Module):
    def __init__(self, dim=96):
        super().__init__()
        self.embed = nn.Embedding(len(LETTERS), dim)
        self.rnn = nn.LSTM(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, len(LETTERS))

    def forward(self, ids):
        return self.head(self.rnn(self.embed(ids))[0])


def batch(data, rng):
    length = rng.choice((16, 20, 24, 28, 32))
    starts = [rng.randrange(len(data) - length - 1) for _ in range(12)]
    rows = torch.stack([data[start : start + length + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def loss_of(model, data, rng):
    inputs, targets = batch(data, rng)
    return nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


@torch.no_grad()
def validate(model, data, rng):
    model.eval()
    losses = [loss_of(model, data, rng).item() for _ in range(10)]
    model.train()
    return sum(losses) / len(losses)


def main():
    rng = random.Random(29)
    torch.manual_seed(29)
    data = encode(TEXT)
    model = LetterModel()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(10**9):
        loss = loss_of(model, data, rng)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        unit_done()
        if step % 10 == 0:
            print(f"step {step}: train loss {loss.item():.4f}", flush=True)
        if step % VALIDATE_EVERY == VALIDATE_EVERY - 1:
            print(f"step {step}: validation loss {validate(model, data, rng):.4f}", flush=True)


if __name__ == "__main__":
    main()
