"""As Lightning's first page: an autoencoder that calls `self.log` and nothing else; Lightning chooses the logger. Random pictures."""

import time

import lightning as L
import torch
from torch import nn, utils


class LitAutoEncoder(L.LightningModule):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(28 * 28, 64), nn.ReLU(), nn.Linear(64, 3))
        self.decoder = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 28 * 28))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        (x,) = batch
        x = x.view(x.size(0), -1)
        loss = nn.functional.mse_loss(self.decoder(self.encoder(x)), x)
        self.log("train_loss", loss)
        time.sleep(0.005)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_loader = utils.data.DataLoader(utils.data.TensorDataset(torch.rand(20_000, 28, 28)), batch_size=32)
    trainer = L.Trainer(max_epochs=4, accelerator="cpu", log_every_n_steps=50)
    trainer.fit(model=LitAutoEncoder(), train_dataloaders=train_loader)
