# fix: tokenize, process: the batches are tokenized ahead in a pool of one process instead of in a thread
"""A thread tokenizes ahead with a slow pure-Python tokenizer."""
import random
import re
from collections import deque
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)
WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]")


def tokenize(seed, texts=32):
    chance = random.Random(seed)
    rows = []
    for _ in range(texts):
        text = " ".join(chance.choice(("alpha", "beta7", "gamma!", "delta-x", "42")) for _ in range(120))
        numbers = []
        for word in WORD.findall(text):
            value = 7
            for letter in word:
                value = (value * 31 + ord(letter)) % 1999
            numbers.append(value)
        rows.append(numbers[:100])
    return rows


def ahead(pool, depth=3):
    waiting = deque(pool.submit(tokenize, seed) for seed in range(depth))
    seed = depth
    while True:
        yield torch.tensor(waiting.popleft().result())
        waiting.append(pool.submit(tokenize, seed))
        seed += 1


def main():
    model = nn.Sequential(nn.Embedding(2000, 64), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 9))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    pool = (ProcessPoolExecutor if FIXED else ThreadPoolExecutor)(1)
    for x in ahead(pool):
        if not loop.running():
            break
        loss = nn.functional.cross_entropy(model(x).flatten(0, 1), (x % 9).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())
    pool.shutdown(wait=True, cancel_futures=True)


if __name__ == "__main__":
    main()
