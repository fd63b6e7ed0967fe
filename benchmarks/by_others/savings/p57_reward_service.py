# fix: Reward.__call__, overlapped: eight requests at a time instead of one after the other
"""A reward model that answers over the network, one sequence per request."""
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from common import FIXED, Loop


class Reward:
    def __call__(self, tokens):
        time.sleep(0.004)
        return (tokens % 7 == 0).float().mean()


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, 64))
        self.cell = nn.GRUCell(64, 64)
        self.embedding = nn.Embedding(50, 64)
        self.out = nn.Linear(64, 50)

    def sample(self, count, length=16):
        state = self.start.expand(count, -1)
        token, chances, tokens = torch.zeros(count, dtype=torch.long), [], []
        for _ in range(length):
            state = self.cell(self.embedding(token), state)
            choice = torch.distributions.Categorical(logits=self.out(state))
            token = choice.sample()
            chances.append(choice.log_prob(token))
            tokens.append(token)
        return torch.stack(tokens, 1), torch.stack(chances, 1).sum(1)


def main():
    torch.set_num_threads(1)
    policy, reward = Policy(), Reward()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
    loop = Loop(logs=False)
    with ThreadPoolExecutor(8 if FIXED else 1) as pool:
        for _ in loop:
            tokens, chance = policy.sample(16)
            rewards = torch.stack(list(pool.map(reward, tokens)))
            loss = -((rewards - rewards.mean()) * chance).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


if __name__ == "__main__":
    main()
