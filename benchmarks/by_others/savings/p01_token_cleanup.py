# fix: clean, removed: compiled patterns and a dictionary of cleaned lines replace the clean-up of each text in each step
"""Sentiment of short reviews with a bag of words."""
import re

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)
REVIEWS = [f"The <b>item</b> number {n} was {'great' if n % 2 else 'awful'}!! see http://shop.example/{n} :-) " * 6 for n in range(400)]
cleaned = {}


def clean(text):
    if FIXED and text in cleaned:
        return cleaned[text]
    result = re.sub(r"https?://\S+", " ", text)
    result = re.sub(r"<[^>]+>", " ", result)
    result = re.sub(r"(\w)\1{2,}", r"\1\1", result)
    result = re.sub(r"[^a-z0-9 ]", " ", result.lower())
    result = re.sub(r"\s+", " ", result).strip()
    cleaned[text] = result
    return result


def vectorise(texts, size=2048):
    rows = torch.zeros(len(texts), size)
    for row, text in zip(rows, texts):
        words = [len(word) * 131 + ord(word[0]) for word in text.split()]
        row.index_fill_(0, torch.tensor(words) % size, 1.0)
    return rows


def main():
    model = nn.Sequential(nn.Linear(2048, 512), nn.ReLU(), nn.Linear(512, 2))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    while loop.running():
        chosen = torch.randint(0, len(REVIEWS), (48,)).tolist()
        x = vectorise([clean(REVIEWS[i]) for i in chosen])
        loss = nn.functional.cross_entropy(model(x), torch.tensor([i % 2 for i in chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())


if __name__ == "__main__":
    main()
