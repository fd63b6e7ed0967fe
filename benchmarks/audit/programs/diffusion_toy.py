"""A denoiser for spirals. Every few steps it samples, to see whether the samples look like spirals."""

import json
import math
import sys
from pathlib import Path

import torch
from pace import more, unit_done
from torch import nn

NOISE_LEVELS = 200
SAMPLE_EVERY = 40
betas = torch.linspace(1e-4, 0.05, NOISE_LEVELS)
alphas = 1 - betas
alpha_bars = torch.cumprod(alphas, 0)


class Denoiser(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.inputs = nn.Linear(2 + 16, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.output = nn.Linear(width, 2)
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, 4, 8)))

    def forward(self, x, t):
        phase = t[:, None] / NOISE_LEVELS * self.frequencies
        hidden = self.inputs(torch.cat([x, phase.sin(), phase.cos()], dim=1))
        for block in self.blocks:
            hidden = hidden + torch.nn.functional.silu(block(hidden))
        return self.output(hidden)


def spirals(count):
    t = torch.rand(count).sqrt() * 3 * math.pi
    return torch.stack([t * t.cos(), t * t.sin()], dim=1) / 5 + 0.02 * torch.randn(count, 2)


def denoise_once(model, x, level):
    t = torch.full((len(x),), level, dtype=torch.float)
    noise = model(x, t)
    mean = (x - betas[level] / (1 - alpha_bars[level]).sqrt() * noise) / alphas[level].sqrt()
    return mean if level == 0 else mean + betas[level].sqrt() * torch.randn_like(x)


@torch.no_grad()
def sample(model, count, rounds):
    """Goes through the levels `rounds` times: later rounds start from half-noised samples, to correct them."""
    x = torch.randn(count, 2)
    for turn in range(rounds):
        first = NOISE_LEVELS - 1 if turn == 0 else NOISE_LEVELS // 2
        for level in range(first, -1, -4):
            x = denoise_once(model, x, level)
    return x


def quality(samples):
    return torch.cdist(samples, spirals(256)).min(dim=1).values.mean().item()


def main():
    torch.manual_seed(2)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    model = Denoiser()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    with open(out / "metrics.jsonl", "a") as log:
        for step in range(10**9):
            x = spirals(256)
            t = torch.randint(0, NOISE_LEVELS, (256,))
            noise = torch.randn_like(x)
            bar = alpha_bars[t][:, None]
            loss = (model(bar.sqrt() * x + (1 - bar).sqrt() * noise, t.float()) - noise).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            record = {"step": step, "loss": loss.item()}
            if step % SAMPLE_EVERY == 0:
                record["distance"] = quality(sample(model, 256, 1 + round(8 * more())))
            print(json.dumps(record), file=log, flush=True)
            unit_done()


if __name__ == "__main__":
    main()
