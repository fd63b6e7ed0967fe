# fix: Vocabulary.number, removed: a dictionary instead of a search through the list of words
"""Words become numbers with a vocabulary in the order of a file."""
import random

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


class Vocabulary:
    def __init__(self, size=3000):
        self.words = [f"word{n:05d}" for n in range(size)]
        self.places = {word: n for n, word in enumerate(self.words)} if FIXED else None

    def number(self, word):
        return self.places[word] if self.places else self.words.index(word)

    def encode(self, sentence):
        return [self.number(word) for word in sentence.split()]


def sentences(words, count):
    return [" ".join(random.choices(words, k=20)) for _ in range(count)]


def main():
    vocabulary = Vocabulary()
    model = nn.Sequential(nn.EmbeddingBag(3000, 128), nn.ReLU(), nn.Linear(128, 3000))
    optimizer = torch.optim.Adagrad(model.parameters())
    loop = Loop()
    while loop.running():
        batch = torch.tensor([vocabulary.encode(s) for s in sentences(vocabulary.words, 32)])
        loss = nn.functional.cross_entropy(model(batch[:, 1:]), batch[:, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
