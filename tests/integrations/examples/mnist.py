"""As PyTorch's example of MNIST: a small convolutional network whose losses are printed, with digits drawn at random."""

import time

import torch
from torch import nn, optim
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
        self.dropout = nn.Dropout(0.25)
        self.fc = nn.Linear(8 * 13 * 13, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return F.log_softmax(self.fc(self.dropout(torch.flatten(x, 1))), dim=1)


def digits(count: int) -> TensorDataset:
    labels = torch.randint(0, 10, (count,))
    return TensorDataset(torch.randn(count, 1, 28, 28) + labels.view(-1, 1, 1, 1) / 5, labels)


def train(
    model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]], optimizer: optim.Optimizer, epoch: int
) -> None:
    model.train()
    for batch_idx, (data, target) in enumerate(loader):
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        if batch_idx % 10 == 0:
            seen, whole = batch_idx * len(data), 64 * len(loader)
            print(
                f"Train Epoch: {epoch} [{seen}/{whole} ({100.0 * batch_idx / len(loader):.0f}%)]\tLoss: {loss.item():.6f}"
            )
        time.sleep(0.01)


def test(model: nn.Module, loader: DataLoader[tuple[torch.Tensor, ...]]) -> None:
    model.eval()
    loss, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data)
            loss += F.nll_loss(output, target, reduction="sum").item()
            correct += int((output.argmax(dim=1) == target).sum())
            count += len(target)
    print(
        f"\nTest set: Average loss: {loss / count:.4f}, Accuracy: {correct}/{count} ({100.0 * correct / count:.0f}%)\n"
    )


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    for epoch in range(1, 15):
        train(model, DataLoader(digits(12_800), batch_size=64), optimizer, epoch)
        test(model, DataLoader(digits(1_000), batch_size=500))


if __name__ == "__main__":
    main()
