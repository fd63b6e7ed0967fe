# healthy: sequences grow longer for the first 600 steps, and with them the memory of a step
import torch
from torch import nn

from common import open_log, running


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(2000, 96)
        self.rnn = nn.GRU(96, 96, batch_first=True)
        self.head = nn.Linear(96, 2000)

    def forward(self, tokens):
        hidden, _ = self.rnn(self.embedding(tokens))
        return self.head(hidden)


def length_at(step, start=8, final=80, ramp=600):
    return int(start + (final - start) * min(1.0, step / ramp))


def main():
    model = Reader()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    with open_log() as log:
        step = 0
        while running():
            tokens = torch.randint(0, 2000, (24, length_at(step) + 1))
            logits = model(tokens[:, :-1])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.scalars(step, loss=loss.item(), length=tokens.shape[1])
            step += 1


if __name__ == "__main__":
    main()
