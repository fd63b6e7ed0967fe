# leak: record self.seen[name].append(output.detach().mean(dim=0).clone())
"""A small transformer encoder whose layers' outputs are monitored with forward hooks."""
from collections import defaultdict

import torch
from torch import nn

from common import open_log, running


class ActivationMonitor:
    """Mean activations of all encoder layers, for a plot at the end of training."""

    def __init__(self, model):
        self.seen = defaultdict(list)
        self.peaks = {}
        for name, module in model.named_modules():
            if isinstance(module, nn.TransformerEncoderLayer):
                module.register_forward_hook(self._hook(name))

    def _hook(self, name):
        def hook(_module, _inputs, output):
            self.record(name, output)

        return hook

    def record(self, name, output):
        self.peaks[name] = float(output.detach().abs().max())
        self.seen[name].append(output.detach().mean(dim=0).clone())


class Tagger(nn.Module):
    def __init__(self, words=4000, width=128, layers=3):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        layer = nn.TransformerEncoderLayer(width, 4, 256, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.head = nn.Linear(width, 17)

    def forward(self, words):
        return self.head(self.encoder(self.embedding(words)))


def main():
    model = Tagger()
    monitor = ActivationMonitor(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
    step = 0
    with open_log() as log:
        while running():
            words = torch.randint(0, 4000, (16, 64))
            logits = model(words)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), (words % 17).flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.scalars(step, {"loss": loss.item(), "peak": max(monitor.peaks.values())})
            step += 1


if __name__ == "__main__":
    main()
