"""As PyTorch's tutorial on training with TensorBoard: a classifier of clothes that logs with a SummaryWriter, with random pictures."""

import time
from datetime import datetime

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter


class GarmentClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 5)
        self.fc = nn.Linear(6 * 12 * 12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(nn.functional.max_pool2d(self.conv(x), 2)).flatten(1))  # type: ignore[no-any-return]


def clothes(count: int) -> TensorDataset:
    labels = torch.randint(0, 10, (count,))
    return TensorDataset(torch.randn(count, 1, 28, 28) + labels.view(-1, 1, 1, 1) / 5, labels)


torch.manual_seed(1)
torch.set_num_threads(1)
training_loader = DataLoader(clothes(4_000), batch_size=4, shuffle=True)
validation_loader = DataLoader(clothes(400), batch_size=4)
model, loss_fn = GarmentClassifier(), nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)


def train_one_epoch(epoch_index: int, tb_writer: SummaryWriter) -> float:
    running_loss, last_loss = 0.0, 0.0
    for i, (inputs, labels) in enumerate(training_loader):
        optimizer.zero_grad()
        loss = loss_fn(model(inputs), labels)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        if i % 100 == 99:
            last_loss = running_loss / 100
            print(f"  batch {i + 1} loss: {last_loss}")
            tb_writer.add_scalar("Loss/train", last_loss, epoch_index * len(training_loader) + i + 1)
            running_loss = 0.0
        time.sleep(0.002)
    return last_loss


writer = SummaryWriter(f"runs/fashion_trainer_{datetime.now():%Y%m%d_%H%M%S}")
for epoch in range(20):
    print(f"EPOCH {epoch + 1}:")
    avg_loss = train_one_epoch(epoch, writer)
    with torch.no_grad():
        avg_vloss = sum(float(loss_fn(model(inputs), labels)) for inputs, labels in validation_loader) / len(
            validation_loader
        )
    print(f"LOSS train {avg_loss} valid {avg_vloss}")
    writer.add_scalars("Training vs. Validation Loss", {"Training": avg_loss, "Validation": avg_vloss}, epoch + 1)
    writer.flush()
