"""Asks many "models" for answers at once, judges them, and trains a policy on the rewards. Everything is a coroutine."""

import asyncio
import random

import torch
from judging import judge
from pace import more, unit_done
from torch import nn

WORDS = "the a model learns from data and then it answers what was asked in many words or few".split()
GROUP = 6
LENGTH = 90


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, len(WORDS)))

    def forward(self, prompt):
        return torch.distributions.Categorical(logits=self.net(prompt))


async def answer(policy, prompt, rng):
    """As over a network: in parts, and others have their turn in between."""
    chances = policy(prompt)
    words, total = [], torch.zeros(())
    for part in range(3):
        await asyncio.sleep(0.001)
        tokens = chances.sample((LENGTH // 3,))
        total = total + chances.log_prob(tokens).mean()
        words += [WORDS[token] for token in tokens.tolist()]
    return words[: LENGTH - rng.randrange(4)], total


async def score(words, reference):
    await asyncio.sleep(0)
    return judge(words, reference, 1 + round(9 * more()))


async def rollout(policy, rng):
    prompt = torch.randn(8)
    reference = rng.choices(WORDS, k=LENGTH)
    answers = await asyncio.gather(*(answer(policy, prompt, rng) for _ in range(GROUP)))
    rewards = await asyncio.gather(*(score(words, reference) for words, _ in answers))
    return torch.stack([chance for _, chance in answers]), torch.tensor(rewards)


async def train():
    rng = random.Random(28)
    torch.manual_seed(28)
    policy = Policy()
    optimizer = torch.optim.Adam(policy.parameters(), lr=1e-4)
    turn = 0
    while True:
        chances, rewards = await rollout(policy, rng)
        loss = -(chances * (rewards - rewards.mean())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        unit_done()
        if turn % 5 == 0:
            print(f"[{turn}] reward={rewards.mean().item():.4f}", flush=True)
        turn += 1


if __name__ == "__main__":
    asyncio.run(train())
