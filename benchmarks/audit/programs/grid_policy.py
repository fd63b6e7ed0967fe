"""REINFORCE in a world of walls: what the agent sees are rays, which are cast in Python over a numpy grid."""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pace import more, unit_done
from torch import nn

SIZE, RAYS, MOVES = 24, 8, ((0, 1), (1, 0), (0, -1), (-1, 0))
EPISODE = 16


class Maze:
    """At times its builder leaves out the walls, and rays go far."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self):
        self.walls = self.rng.random((SIZE, SIZE)) < 0.3
        self.walls[[0, -1]] = self.walls[:, [0, -1]] = True
        self.at = np.array([SIZE // 2, SIZE // 2])
        self.goal = self.rng.integers(1, SIZE - 1, 2)
        return self.look()

    def line_of_sight(self, angle, resolution):
        dy, dx = math.sin(angle), math.cos(angle)
        length = 0.0
        while length < SIZE:
            length += resolution
            y, x = int(self.at[0] + dy * length), int(self.at[1] + dx * length)
            if self.walls[y, x]:
                return length
        return float(SIZE)

    def look(self):
        resolution = 0.25 / (1 + 1.6 * more())
        rays = [self.line_of_sight(2 * math.pi * turn / RAYS, resolution) for turn in range(RAYS)]
        return np.array(rays + list(self.goal - self.at), np.float32) / SIZE

    def step(self, move):
        target = self.at + MOVES[move]
        if not self.walls[tuple(target)]:
            self.at = target
        distance = np.abs(self.goal - self.at).sum()
        return self.look(), 1.0 if distance == 0 else -0.01 * distance, distance == 0


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(RAYS + 2, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, len(MOVES)))

    def act(self, seen):
        distribution = torch.distributions.Categorical(logits=self.net(torch.from_numpy(seen)))
        move = distribution.sample()
        return move.item(), distribution.log_prob(move)


def play(maze, policy):
    seen, chances, rewards = maze.reset(), [], []
    for _ in range(EPISODE):
        move, chance = policy.act(seen)
        seen, reward, done = maze.step(move)
        chances.append(chance)
        rewards.append(reward)
        if done:
            break
    return torch.stack(chances), np.cumsum(rewards[::-1])[::-1].copy()


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    maze, policy = Maze(18), Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    with open(folder / "episodes.jsonl", "a") as log:
        for episode in range(10**9):
            chances, returns = play(maze, policy)
            loss = -(chances * torch.from_numpy(returns).float()).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            row = {"episode": episode, "return": float(returns[0]), "loss": loss.item(), "wall_time": time.time()}
            log.write(json.dumps(row) + "\n")
            log.flush()
            unit_done()


if __name__ == "__main__":
    main()
