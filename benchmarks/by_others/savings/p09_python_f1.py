# fix: token_f1, removed: tensors are compared instead of lists of labels in Python
"""Token labels with an F1 score of every batch."""
from collections import Counter

import torch
from torch import nn

from common import FIXED, Loop


def token_f1(guess, gold, labels=9):
    if FIXED:
        hit = (guess == gold).sum().item()
        return hit / max(1, gold.numel())
    right, guessed, wanted = Counter(), Counter(), Counter()
    for row_guess, row_gold in zip(guess.tolist(), gold.tolist()):
        for a, b in zip(row_guess, row_gold):
            guessed[a] += 1
            wanted[b] += 1
            if a == b:
                right[a] += 1
    scores = []
    for label in range(labels):
        precision = right[label] / max(1, guessed[label])
        recall = right[label] / max(1, wanted[label])
        scores.append(2 * precision * recall / max(1e-9, precision + recall))
    return sum(scores) / labels


class Labeller(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(3000, 48)
        self.rnn = nn.GRU(48, 48, batch_first=True, bidirectional=True)
        self.out = nn.Linear(96, 9)

    def forward(self, words):
        return self.out(self.rnn(self.embedding(words))[0])


if __name__ == "__main__":
    torch.set_num_threads(1)
    model = Labeller()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loop = Loop()
    while loop.running():
        words = torch.randint(0, 3000, (48, 40))
        logits = model(words)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), (words % 9).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item(), f1=token_f1(logits.argmax(-1), words % 9))
