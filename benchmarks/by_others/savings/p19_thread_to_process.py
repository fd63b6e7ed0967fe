# fix: play_game, process: the games are played in one process of a pool instead of a thread that holds the interpreter
"""Self-play of a small counting game in the background, training on the latest games."""
import random
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def play_game(seed, rounds=60_000):
    chance = random.Random(seed)
    positions, heap, turn = [], 40, 0
    for _ in range(rounds):
        take = chance.choice((1, 2, 3))
        heap -= min(take, heap)
        turn ^= 1
        if heap == 0:
            positions.append((take, turn))
            heap = chance.randrange(20, 60)
    return positions[:64]


def main():
    pool = (ProcessPoolExecutor if FIXED else ThreadPoolExecutor)(1)
    games = pool.submit(play_game, 0)
    latest = games.result()
    games = pool.submit(play_game, 1)
    model = nn.Sequential(nn.Embedding(4, 32), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop()
    while loop.running():
        if games.done():
            latest = games.result()
            games = pool.submit(play_game, loop.steps)
        takes, turns = torch.tensor(latest).T
        loss = nn.functional.cross_entropy(model(takes), turns)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.done(loss=loss.item())
    pool.shutdown(wait=True, cancel_futures=True)


if __name__ == "__main__":
    main()
