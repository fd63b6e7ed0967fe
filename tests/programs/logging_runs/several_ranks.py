"""Ranks of one job over gloo: each prints its steps with its rank in front, and waits for the others. Arguments: seconds, ranks, seed."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

SECONDS, RANKS, SEED = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])


def say(rank: int, text: str) -> None:
    sys.stdout.write(f"[rank{rank}]: {text}\n")
    sys.stdout.flush()


def work(rank: int, place: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=RANKS)
    torch.set_num_threads(1)
    drawn, gradient = random.Random(SEED + rank), torch.randn(2000)
    begun, step = time.monotonic(), 0
    say(rank, f"joined a group of {RANKS}, backend gloo, pid {os.getpid()}")
    while True:
        time.sleep(drawn.gauss(0.05, 0.006) if step % 40 else 0.2)
        at = time.monotonic()
        dist.all_reduce(gradient)
        gradient.div_(RANKS)
        waited = 1000 * (time.monotonic() - at)
        if step % 5 == 0:
            say(rank, f"step {step} loss {2 / (1 + step / 400) + drawn.gauss(0, 0.02):.3f} all_reduce {waited:.2f} ms")
        if step % 100 == 0:
            say(rank, f"memory: allocated {drawn.randrange(9000, 9100)} MiB, reserved {10240} MiB")
        if drawn.random() < 0.01:
            say(rank, f"WARNING stream {drawn.randrange(4)} waited {drawn.expovariate(0.2):.1f} ms for host")
        if step % 300 == 299 and rank == 0:
            say(rank, f"heartbeat: all {RANKS} ranks alive, store at {place}")
        stop = torch.tensor(float(time.monotonic() - begun > SECONDS))
        dist.all_reduce(stop)
        if stop > 0:
            break
        step += 1
    dist.destroy_process_group()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(work, args=(f"{folder}/store",), nprocs=RANKS)
