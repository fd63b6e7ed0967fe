"""Record what Lightning and Hugging Face's Trainer write, for tests/logs/test_other_formats.py.

python -m tests.record_formats        about a minute; needs requirements-dev.txt
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import torch

RECORDED = Path(__file__).parent / "data" / "recorded" / "formats"


def main() -> None:
    shutil.rmtree(RECORDED / "lightning", ignore_errors=True)
    shutil.rmtree(RECORDED / "hugging_face", ignore_errors=True)
    lightning(RECORDED / "lightning")
    hugging_face(RECORDED / "hugging_face")


def lightning(folder: Path) -> None:
    """`metrics-1.csv`, `metrics-2.csv`, ...: the same file after each save; a column is new in the second and in the fourth."""
    from lightning.pytorch.loggers import CSVLogger

    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as work:
        logger = CSVLogger(work, name="", version="run")
        logger.log_hyperparams(
            {
                "lr": 3e-4,
                "layers": (2, 4),
                "net": torch.nn.ReLU,
                "nested": {"dropout": 0.1},
                "options": argparse.Namespace(seed=7),
            }
        )
        for save in range(1, 5):
            for step in range(10 * save - 10, 10 * save):
                logger.log_metrics({"train_loss": 1 / (1 + step), "epoch": save - 1}, step)
            if save % 2 == 0:
                logger.log_metrics({f"val_loss_{save}": 1 / save, "epoch": save - 1}, 10 * save - 1)
            logger.save()
            shutil.copy(Path(logger.log_dir) / "metrics.csv", folder / f"metrics-{save}.csv")
        shutil.copy(Path(logger.log_dir) / "hparams.yaml", folder)


class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 64

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        x = torch.full((4,), place / 64)
        return {"x": x, "labels": x.sum()}


class Line(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.line(x).squeeze(-1)
        return {"loss": (y - labels).square().mean(), "logits": y}


def hugging_face(folder: Path) -> None:
    """An output folder with two checkpoints and the final values, and what was printed."""
    from transformers import Trainer, TrainingArguments

    folder.mkdir(parents=True)
    with (
        tempfile.TemporaryDirectory() as work,
        (folder / "train.log").open("w") as log,
        contextlib.redirect_stdout(log),
    ):
        options = TrainingArguments(
            work,
            max_steps=40,
            per_device_train_batch_size=8,
            logging_steps=5,
            eval_strategy="steps",
            eval_steps=20,
            save_steps=20,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        torch.manual_seed(0)
        trainer = Trainer(Line(), options, train_dataset=Rows(), eval_dataset=Rows())
        trainer.save_metrics("train", trainer.train().metrics)
        trainer.save_metrics("eval", trainer.evaluate())
        trainer.save_state()
        for path in sorted(Path(work).rglob("*.json")):
            if path.name == "trainer_state.json" or path.name.endswith("_results.json"):
                target = folder / path.relative_to(work)
                target.parent.mkdir(exist_ok=True)
                shutil.copy(path, target)


if __name__ == "__main__":
    sys.exit(main())
