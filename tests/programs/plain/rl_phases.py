"""A loop of reinforcement learning: roll-outs, rewards, updates, one after the other in each unit of about 2 s."""

import json
import random
import sys
import time
from pathlib import Path

import torch
from slowdown import slowed
from torch import nn

UNIT_S = 2.0
EPISODES = 20


def roll_out(policy: nn.Module) -> list[float]:
    actions = policy(torch.randn(8, 16)).argmax(1).tolist()
    time.sleep(0.04)  # as if a GPU generated
    return [random.random() + action for action in actions]


def grade(episode: list[float]) -> float:
    with slowed(UNIT_S / EPISODES) as extra_s:
        until_s = time.thread_time() + 0.015 + 0.4 * extra_s
        while time.thread_time() < until_s:
            reward = sum(sorted(episode)[-3:])
        time.sleep(0.6 * extra_s)
    return reward


def update(policy: nn.Module, optimizer: torch.optim.Optimizer, rewards: list[float]) -> float:
    loss = policy(torch.randn(8, 16)).square().mean() * sum(rewards) / len(rewards)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.05)  # as if a GPU worked
    return float(loss)


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    policy = nn.Linear(16, 4)
    optimizer = torch.optim.SGD(policy.parameters(), lr=1e-4)
    with (folder / "metrics.jsonl").open("a") as log:
        for step in range(1_000_000):
            episodes = [roll_out(policy) for _ in range(EPISODES)]
            rewards = [grade(episode) for episode in episodes]
            losses = [update(policy, optimizer, rewards) for _ in range(16)]
            row = {"step": step, "time_s": time.time(), "reward": sum(rewards) / EPISODES, "loss": losses[-1]}
            print(json.dumps(row), file=log, flush=True)


if __name__ == "__main__":
    main()
