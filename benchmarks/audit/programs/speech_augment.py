"""Recognizes tones in noise. The waves are augmented by scipy on the fly: speed, reverberation, noise."""

import csv
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pace import more, unit_done
from scipy import signal
from torch import nn

RATE = 8000
SECONDS = 0.5
TONES = (220, 330, 440, 550, 660)


class Augment:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def change_speed(self, wave):
        up = int(self.rng.integers(9, 12))
        return signal.resample_poly(wave, up, 10)[: int(RATE * SECONDS * 0.9)]

    def room(self):
        """An impulse response; of large rooms it is long."""
        length = 400 + int(4200 * more())
        return self.rng.standard_normal(length) * np.exp(-np.arange(length) / (length / 5))

    def add_reverb(self, wave):
        wet = signal.convolve(wave, self.room(), mode="full", method="direct")[: len(wave)]
        return 0.8 * wave + 0.2 * wet / (np.abs(wet).max() + 1e-9)

    def add_noise(self, wave):
        return wave + 0.1 * self.rng.standard_normal(len(wave))

    def __call__(self, wave):
        for change in (self.change_speed, self.add_reverb, self.add_noise):
            wave = change(wave)
        return wave


class Recognizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, 32, 64, stride=8), nn.ReLU(), nn.Conv1d(32, 32, 16, stride=4), nn.ReLU(), nn.AdaptiveAvgPool1d(8)
        )
        self.head = nn.Linear(256, len(TONES))

    def forward(self, waves):
        return self.head(self.net(waves[:, None]).flatten(1))


def make_batch(augment, rng, size=8):
    time_s = np.arange(int(RATE * SECONDS)) / RATE
    labels = rng.integers(0, len(TONES), size)
    waves = [augment(np.sin(2 * np.pi * TONES[label] * time_s)) for label in labels]
    shortest = min(map(len, waves))
    stacked = np.stack([wave[:shortest] for wave in waves]).astype(np.float32)
    return torch.from_numpy(stacked), torch.from_numpy(labels)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    augment = Augment(5)
    model = Recognizer()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with open(folder / "progress.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "step", "loss", "accuracy"])
        for step in range(10**9):
            waves, labels = make_batch(augment, rng)
            logits = model(waves)
            loss = nn.functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            accuracy = (logits.argmax(1) == labels).float().mean().item()
            writer.writerow([time.time(), step, loss.item(), accuracy])
            file.flush()
            unit_done()


if __name__ == "__main__":
    main()
