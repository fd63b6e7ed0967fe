"""The archive of p41_image_rows.py (no program of its own)."""
import numpy as np
import torch

from common import FIXED

SIDE = 32


def unpack(data):
    if FIXED:
        return np.unpackbits(np.frombuffer(data, np.uint8)).reshape(SIDE, SIDE).astype(np.float32)
    pixels = []
    for byte in data:
        for bit in range(7, -1, -1):
            pixels.append(float(byte >> bit & 1))
    return np.array(pixels, np.float32).reshape(SIDE, SIDE)


class Archive:
    def __init__(self, count=2000):
        self.rng = np.random.default_rng(0)
        self.stored = [self.rng.bytes(SIDE * SIDE // 8) for _ in range(count)]

    def sample(self, count):
        chosen = self.rng.integers(0, len(self.stored), count)
        pictures = np.stack([unpack(self.stored[i]) for i in chosen])
        return torch.from_numpy(pictures)[:, None], torch.from_numpy(chosen % 10)
