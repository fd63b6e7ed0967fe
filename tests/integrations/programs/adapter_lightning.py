"""Lightning's Trainer with our logger and our callback."""

from typing import Any

import lightning
import torch
from adapting import LOGS, each_fault, report, weights
from lightning.pytorch.callbacks import ModelCheckpoint

STEPS, EPOCHS = 8, 2
logged: dict[str, list[tuple[int, float]]] = {}


class Line(lightning.LightningModule):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = self.layer(batch).square().mean()
        self.log("train_loss", loss)
        if index % 2:  # the second of two batches whose gradients are added up
            logged.setdefault("train_loss", []).append((self.global_step, float(loss)))
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        self.log("val_loss", self.layer(batch).square().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)


def main(fault: str) -> None:
    lightning.seed_everything(0)
    data = torch.utils.data.DataLoader(torch.randn(16 * STEPS, 4), batch_size=8)
    others: dict[str, Any] = {"logger": False, "callbacks": []}
    if fault != "none":
        from deepseek.log.adapters.lightning import PhasesCallback, RunLogger

        others = {"logger": RunLogger(LOGS, "run"), "callbacks": [PhasesCallback()]}
    if not fault:
        others["callbacks"].append(ModelCheckpoint(every_n_epochs=1, save_top_k=-1))
    model = Line()
    trainer = lightning.Trainer(
        max_epochs=EPOCHS,
        log_every_n_steps=1,
        accumulate_grad_batches=2,
        accelerator="cpu",
        enable_checkpointing=not fault,
        enable_progress_bar=False,
        enable_model_summary=False,
        **others,
    )
    trainer.fit(model, data, data)
    steps = [(step, 0.0) for step in range(STEPS * EPOCHS)]
    phases = {f"phase/{name}_s": steps for name in ("data", "forward", "backward", "optimizer")}
    ends = [STEPS, STEPS * EPOCHS]
    events = [[kind, step] for kind in ("epoch", "validation", "checkpoint") for step in ends]
    result = weights(model)
    report(result, {**logged, **phases}, {"lr": 0.1}, [*events, ["train_end", None]])


if __name__ == "__main__":
    each_fault(main)
