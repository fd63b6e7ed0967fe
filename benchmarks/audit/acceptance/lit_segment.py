import sys

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import CSVLogger
from pace import more, unit_done
from torch import nn
from torch.utils.data import DataLoader, Dataset

S = 20


class Blobs(Dataset):
    def __len__(self):
        return 100_000_000

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(i)
        c = torch.randint(4, S - 4, (2,), generator=g)
        yy, xx = torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij")
        mask = ((yy - c[0]) ** 2 + (xx - c[1]) ** 2 < 12).float()
        return mask + 0.3 * torch.randn(S, S, generator=g), mask


class LitSegmenter(L.LightningModule):
    def __init__(self, width=24):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1)
        )

    def training_step(self, batch, batch_idx):
        img, mask = batch
        logits = self.net(img[:, None])[:, 0]
        loss = F.binary_cross_entropy_with_logits(logits, mask)
        self.log("train_loss", loss)
        return {"loss": loss, "prediction": (logits.detach() > 0)}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class ContourCallback(L.Callback):
    """follows the contours of what is predicted, pixel by pixel"""

    def __init__(self):
        self.total = 0

    def trace(self, mask):
        rows = mask.tolist()
        length = 0
        for y in range(1, S - 1):
            for x in range(1, S - 1):
                if rows[y][x] != rows[y][x - 1] or rows[y][x] != rows[y - 1][x]:
                    length += 1
        return length

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        n = 1 + int(160 * more())
        masks = outputs["prediction"]
        for k in range(n):
            self.total += self.trace(masks[k % len(masks)])
        unit_done()


if __name__ == "__main__":
    L.seed_everything(0, verbose=False)
    out = sys.argv[1]
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=CSVLogger(out, name="", version="", flush_logs_every_n_steps=10),
        log_every_n_steps=5,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ContourCallback()],
    )
    trainer.fit(LitSegmenter(), DataLoader(Blobs(), batch_size=8, num_workers=0))
