"""Metric learning; every 20 steps scikit-learn says how well the classes are apart. Logs to TensorBoard."""

import sys

import numpy as np
import torch
from pace import more, unit_done
from sklearn.metrics import average_precision_score, silhouette_score
from torch import nn
from torch.utils.tensorboard import SummaryWriter

CLASSES, DIM = 10, 48
EVALUATE_EVERY = 20


class Embedder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(DIM, 384), nn.ReLU(), nn.Linear(384, 384), nn.ReLU(), nn.Linear(384, 24))

    def forward(self, x):
        return nn.functional.normalize(self.body(x), dim=-1)


class Evaluation:
    """Collects what came since the last one."""

    def __init__(self):
        self.vectors, self.labels = [], []

    def add(self, vectors, labels):
        self.vectors.append(vectors.detach().numpy())
        self.labels.append(labels.numpy())

    def separation(self):
        vectors, labels = np.concatenate(self.vectors), np.concatenate(self.labels)
        return {"silhouette": silhouette_score(vectors, labels), "precision": self.precision(vectors, labels)}

    def precision(self, vectors, labels):
        near = vectors[:50] @ vectors.T
        same = labels[:50, None] == labels[None, :]
        return float(np.mean([average_precision_score(row_same, row) for row, row_same in zip(near, same)]))

    def clear(self):
        self.vectors, self.labels = [], []


def batch(centres, size):
    labels = torch.randint(0, CLASSES, (size,))
    return centres[labels] + torch.randn(size, DIM), labels


def triplet_loss(vectors, labels):
    distances = torch.cdist(vectors, vectors)
    same = labels[:, None] == labels[None, :]
    positive = (distances * same).max(dim=1).values
    negative = (distances + 10 * same).min(dim=1).values
    return torch.relu(positive - negative + 0.2).mean()


def main():
    torch.manual_seed(13)
    writer = SummaryWriter(sys.argv[1], flush_secs=1)
    centres = 2 * torch.randn(CLASSES, DIM)
    model = Embedder()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    evaluation = Evaluation()
    for step in range(10**9):
        x, labels = batch(centres, 96)
        vectors = model(x)
        loss = triplet_loss(vectors, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        writer.add_scalar("train/loss", loss.item(), step)
        if step % EVALUATE_EVERY == 0:
            for _ in range(2 + int(14 * more())):
                with torch.no_grad():
                    x, labels = batch(centres, 128)
                    evaluation.add(model(x), labels)
            for name, value in evaluation.separation().items():
                writer.add_scalar(f"eval/{name}", value, step)
            evaluation.clear()
        unit_done()


if __name__ == "__main__":
    main()
