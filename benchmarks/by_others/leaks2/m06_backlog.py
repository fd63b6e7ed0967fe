# leak: run self.episodes.put(self.play())
"""A thread plays episodes faster than the training takes them out of the queue."""
import queue
import threading
import time

import numpy as np
import torch
from torch import nn

from common import running

torch.set_num_threads(1)


class Generator(threading.Thread):
    def __init__(self, episodes):
        super().__init__(daemon=True)
        self.episodes = episodes
        self.rng = np.random.default_rng()

    def play(self):
        walk = self.rng.standard_normal((100, 200), dtype=np.float32)
        return np.cumsum(walk, axis=0)

    def run(self):
        while True:
            time.sleep(0.025)
            self.episodes.put(self.play())


def main():
    episodes = queue.Queue()
    Generator(episodes).start()
    model = nn.GRU(200, 256, batch_first=True)
    head = nn.Linear(256, 200)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()])
    while running():
        episode = torch.from_numpy(episodes.get())[None].repeat(8, 1, 1)
        loss = (head(model(episode[:, :-1])[0]) - episode[:, 1:]).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
