# fix: collate, overlapped: num_workers 0 -> 1: the collate function tokenizes in a worker
"""Language model on generated sentences; the collate function splits words into pieces."""
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from common import FIXED, Loop

torch.set_num_threads(1)
PIECES = {a + b: n + 1 for n, (a, b) in enumerate((a, b) for a in "abcdefghijklmnop" for b in "abcdefghijklmnop")}


class Sentences(Dataset):
    def __len__(self):
        return 50_000

    def __getitem__(self, index):
        chance = random.Random(index)
        return " ".join("".join(chance.choices("abcdefghijklmnop", k=8)) for _ in range(16))


def pieces(word):
    result, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            if word[start:end] in PIECES:
                result.append(PIECES[word[start:end]])
                break
        start = end
    return result


def collate(texts):
    rows = [[number for word in text.split() for number in pieces(word)] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [0] * (longest - len(row)) for row in rows])


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(300, 64)
        self.rnn = nn.LSTM(64, 96, batch_first=True)
        self.out = nn.Linear(96, 300)

    def forward(self, x):
        return self.out(self.rnn(self.embedding(x))[0])


def main():
    loader = DataLoader(Sentences(), batch_size=32, collate_fn=collate, num_workers=1 if FIXED else 0)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    for x in loader:
        if not loop.running():
            break
        loss = nn.functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
