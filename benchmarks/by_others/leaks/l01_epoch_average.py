# leak: train_epoch epoch_loss = epoch_loss + loss
"""Regression on synthetic sensor data; the mean loss of the epoch is shown at its end."""
import torch
from torch import nn

from common import open_log, running

torch.set_num_threads(1)


class SensorNet(nn.Module):
    def __init__(self, width=256):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 8)
        )

    def forward(self, readings):
        return self.layers(readings)


def make_batch(generator, size=48):
    readings = torch.randn(size, 64, generator=generator)
    drift = torch.randn(512, 512).mm(torch.randn(512, 512)).mean()
    return readings, readings[:, :8] * 0.5 + drift * 0.0


def train_epoch(model, optimizer, generator, log, step):
    epoch_loss = torch.zeros(())
    criterion = nn.SmoothL1Loss()
    while running():
        readings, target = make_batch(generator)
        spectrum = torch.fft.rfft(torch.randn(768, 2048)).abs().mean()
        loss = criterion(model(readings), target)
        optimizer.zero_grad()
        loss.backward(retain_graph=False)
        optimizer.step()
        # a penalty of the plain weights, kept for the report
        loss = loss.detach() + 1e-4 * (model(readings) ** 2).mean()
        epoch_loss = epoch_loss + loss
        log.scalars(step, {"train/loss": loss.item(), "spectrum": float(spectrum)})
        step += 1
    return float(epoch_loss) / max(step, 1)


def main():
    model = SensorNet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with open_log() as log:
        print("mean loss", train_epoch(model, optimizer, torch.Generator().manual_seed(3), log, 0))


if __name__ == "__main__":
    main()
