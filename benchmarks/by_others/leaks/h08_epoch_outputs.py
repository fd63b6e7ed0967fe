# healthy: the outputs of an epoch of about 20 s are kept for a metric at its end, then freed
import torch
from torch import nn

from common import running

torch.set_num_threads(1)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(64, 100)

    def forward(self, x):
        features = self.body(x)
        return self.head(features.mean((2, 3))), features


def epoch(model, optimizer, steps=200):
    kept = []
    for _ in range(steps):
        if not running():
            break
        x = torch.rand(32, 3, 32, 32)
        logits, features = model(x)
        loss = nn.functional.cross_entropy(logits, torch.randint(0, 100, (32,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept.append(features.detach()[:8, :, ::2, ::2].clone())
    return float(torch.cat(kept).std()) if kept else 0.0


def main():
    model = Classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    while running():
        print(f"spread of features {epoch(model, optimizer):.4f}")


if __name__ == "__main__":
    main()
