"""Lightning's Trainer. The module erases parts of its images in training_step; a callback appends to a JSONL every 5 steps."""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from slowdown import slowed
from torch import nn
from torch.utils.data import DataLoader, Dataset

UNIT_S = 0.04


class Noise(Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((64,), float(index % 9))


def random_erase(images: torch.Tensor) -> torch.Tensor:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.004 + extra_s
        while time.thread_time() < until_s:
            start = random.randrange(48)
            erased = [0.0 if start <= i < start + 16 else 1.0 for i in range(64)]
    return images * torch.tensor(erased)


class Tiny(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 4))

    def training_step(self, images: torch.Tensor, index: int) -> torch.Tensor:
        loss = self.layers(random_erase(images)).square().mean()
        time.sleep(0.03)  # as if a GPU worked
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class ToJsonl(lightning.Callback):
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("a")

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index % 5 == 0:
            row = {"step": trainer.global_step, "time_s": time.time(), "loss": float(outputs["loss"])}
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()


def main() -> None:
    torch.set_num_threads(1)
    trainer = lightning.Trainer(
        max_steps=1_000_000,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ToJsonl(Path(sys.argv[1]) / "metrics.jsonl")],
    )
    trainer.fit(Tiny(), DataLoader(Noise(), batch_size=4, num_workers=0))


if __name__ == "__main__":
    main()
