"""transformers.Trainer that logs every 50 steps; a callback appends what it logs to a JSONL. The collator is its own."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from slowdown import slowed
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

UNIT_S = 0.02


class Tokens(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> list[int]:
        return [index % 50] * (8 + index % 8)


def pad_and_stack(rows: list[list[int]]) -> dict[str, torch.Tensor]:
    with slowed(UNIT_S) as extra_s:
        until_s = time.thread_time() + 0.002 + extra_s
        while time.thread_time() < until_s:
            padded = [row + [0] * (16 - len(row)) for row in rows]
    return {"tokens": torch.tensor(padded)}


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 50))

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.layers(tokens)
        time.sleep(0.012)  # as if a GPU worked
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())}


class ToJsonl(TrainerCallback):
    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file = path.open("a")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        self.file.write(json.dumps({"step": state.global_step, "time_s": time.time(), **(logs or {})}) + "\n")
        self.file.flush()


def main() -> None:
    torch.set_num_threads(1)
    arguments = TrainingArguments(
        output_dir="checkpoints",
        max_steps=1_000_000,
        per_device_train_batch_size=4,
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
    )
    log = ToJsonl(Path(sys.argv[1]) / "metrics.jsonl")
    Trainer(model=Tiny(), args=arguments, train_dataset=Tokens(), data_collator=pad_and_stack, callbacks=[log]).train()


if __name__ == "__main__":
    main()
