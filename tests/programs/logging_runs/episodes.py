"""A policy that learns in episodes of very different length, with a replay buffer and evaluations by chance. Arguments: seconds, seed."""

from __future__ import annotations

import random
import sys
import time

import torch

END_S, SEED = time.monotonic() + float(sys.argv[1]), int(sys.argv[2])
drawn = random.Random(SEED)
torch.set_num_threads(1)
policy = torch.nn.Linear(8, 2)
optimizer = torch.optim.Adam(policy.parameters(), 1e-2)
episode = updates = 0
print(f"env CartBalance-v1 | seed {SEED} | buffer 50000", flush=True)
while time.monotonic() < END_S:
    length = int(drawn.lognormvariate(2.5, 0.8)) + 1
    reward = 0.0
    for _ in range(length):
        time.sleep(0.004)
        state = torch.randn(8)
        reward += float(policy(state).softmax(0)[0])
    episode += 1
    print(
        f"episode {episode}: length {length}, return {reward:.2f}, epsilon {max(0.05, 0.999**episode):.3f}", flush=True
    )
    if length > 40:
        print(f"  long episode: truncated at {length}, bootstrap value {drawn.gauss(3, 1):.3f}", flush=True)
    if episode % 8 == 0:
        for _ in range(drawn.randrange(2, 6)):
            loss = policy(torch.randn(64, 8)).logsumexp(1).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            updates += 1
            print(
                f"update {updates}: loss {float(loss):.4f} td_error {drawn.expovariate(4):.4f} buffer {min(50000, 20 * episode)}",
                flush=True,
            )
    if drawn.random() < 0.01:
        print(
            f"INFO new best return {reward:.2f}, policy written to /tmp/policy-{drawn.getrandbits(24):06x}.pt",
            flush=True,
        )
    if drawn.random() < 0.015:
        print(
            f"WARNING physics step took {drawn.gauss(30, 4):.1f} ms, {drawn.randrange(1, 4)} frames dropped", flush=True
        )
    if episode % 60 == 0:
        time.sleep(0.4)
        print(f"evaluation over 10 episodes: return {drawn.gauss(20, 3):.2f} +- {drawn.uniform(1, 3):.2f}", flush=True)
