"""Lightning's Trainer with our logger and our callback, of which steps are traced: program LOG_DIR"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import torch

from deepseek.log.adapters.lightning import PhasesCallback, RunLogger

LOGS = Path(sys.argv[1])


class Line(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        time.sleep(0.01)
        return self.layer(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    folder = LOGS / ".deepseek" / "traces" / "run"
    folder.mkdir(mode=0o700, parents=True)
    asked = os.open(folder / "trace.request", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(asked, json.dumps({"id": "0123abcd", "steps": 2, "rank": 0, "time_s": time.time()}).encode())
    data = torch.utils.data.DataLoader(torch.randn(3200, 4), batch_size=8)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=RunLogger(LOGS, "run"),
        callbacks=[PhasesCallback()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), data)


if __name__ == "__main__":
    main()
