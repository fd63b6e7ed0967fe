# healthy: a replay buffer grows until its maximum of 6,000 transitions, then replaces old ones
import random
from collections import deque, namedtuple

import numpy as np
import torch
from torch import nn

from common import running

torch.set_num_threads(1)
Transition = namedtuple("Transition", "state action reward following")


class Replay:
    def __init__(self, capacity):
        self.items = deque(maxlen=capacity)

    def push(self, *values):
        self.items.append(Transition(*values))

    def sample(self, count):
        return Transition(*zip(*random.sample(self.items, count)))


class Walk:
    def reset(self):
        self.state = np.zeros((4, 42, 42), dtype=np.uint8)
        return self.state

    def act(self, action):
        frame = np.random.randint(0, 255, (42, 42), dtype=np.uint8)
        self.state = np.concatenate([self.state[1:], frame[None]])
        return self.state, float(action == frame[0, 0] % 4)


def q_network():
    return nn.Sequential(nn.Conv2d(4, 16, 8, 4), nn.ReLU(), nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 3 * 3, 4))


def main():
    q, target = q_network(), q_network()
    optimizer = torch.optim.Adam(q.parameters(), lr=1e-4)
    replay, world = Replay(6000), Walk()
    state = world.reset()
    while running():
        for _ in range(12):
            action = int(q(torch.from_numpy(state[None]).float()).argmax()) if random.random() > 0.1 else random.randrange(4)
            following, reward = world.act(action)
            replay.push(state, action, reward, following)
            state = following
        if len(replay.items) < 64:
            continue
        batch = replay.sample(64)
        states = torch.from_numpy(np.stack(batch.state)).float() / 255
        followings = torch.from_numpy(np.stack(batch.following)).float() / 255
        with torch.no_grad():
            goal = torch.tensor(batch.reward) + 0.9 * target(followings).max(1).values
        value = q(states).gather(1, torch.tensor(batch.action)[:, None]).squeeze(1)
        loss = nn.functional.smooth_l1_loss(value, goal.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
