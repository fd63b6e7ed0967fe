"""Trains a small transformer on the CPU for ever, on one thread, fed by one data-loader worker."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

WIDTH, LENGTH, BATCH = 64, 32, 8


class Noise(Dataset):
    def __len__(self) -> int:
        return 1 << 30

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.randn(LENGTH, WIDTH)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, batch_first=True) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def train() -> None:
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters())
    for step, batch in enumerate(DataLoader(Noise(), BATCH, num_workers=1)):
        loss = (model(batch) - batch).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == 10:
            print("ready", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train()
