"""Trains, and every 25 steps hands its weights to a copier, which puts them on a disk that is slow at times."""

import os
import subprocess
import sys
import time

import torch
from pace import more, unit_done
from torch import nn
from tqdm import trange

SAVE_EVERY = 25
BLOCK = 1 << 16
COPIER = """
import sys, time
while True:
    speed = sys.stdin.buffer.read(8)
    if len(speed) < 8: break
    pause_s = int(speed) / 1e6
    for _ in range(%d):
        sys.stdin.buffer.read(1 << 16)
        time.sleep(pause_s)
    sys.stdout.write("k"); sys.stdout.flush()
"""


class Copier:
    """A program of its own that writes to the archive, block by block."""

    def __init__(self, blocks):
        command = [sys.executable, "-c", COPIER % blocks]
        self.blocks = blocks
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def send(self, blob, pause_us):
        pipe = self.process.stdin
        pipe.write(b"%08d" % pause_us)
        for start in range(0, self.blocks * BLOCK, BLOCK):
            self.write_block(pipe, blob[start : start + BLOCK].ljust(BLOCK, b"\0"))
        return self.process.stdout.read(1)

    def write_block(self, pipe, block):
        view = memoryview(block)
        while view:
            view = view[os.write(pipe.fileno(), view) :]


def pack(model):
    return b"".join(value.detach().numpy().tobytes() for value in model.state_dict().values())


def save(copier, model):
    copier.send(pack(model), 500 + int(10_000 * more()))


def main():
    torch.manual_seed(12)
    model = nn.Sequential(nn.Linear(128, 768), nn.ReLU(), nn.Linear(768, 768), nn.ReLU(), nn.Linear(768, 32))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    copier = Copier(len(pack(model)) // BLOCK + 1)
    target = torch.randn(128, 32)
    with trange(10**9, mininterval=0.5, ascii=True) as bar:
        for step in bar:
            x = torch.randn(96, 128)
            loss = (model(x) - x @ target).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % SAVE_EVERY == SAVE_EVERY - 1:
                save(copier, model)
                bar.set_postfix(loss=f"{loss.item():.3f}", saved=time.strftime("%H:%M:%S"))
            unit_done()


if __name__ == "__main__":
    main()
