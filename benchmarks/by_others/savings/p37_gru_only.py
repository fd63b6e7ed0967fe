# fix: train, other: the recurrent network is the cost; there is nothing to remove
"""Character model; all of the time is the GRU."""
import torch
from torch import nn

from common import Loop


class Characters(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(96, 64)
        self.rnn = nn.GRU(64, 160, num_layers=2, batch_first=True)
        self.out = nn.Linear(160, 96)

    def forward(self, x):
        return self.out(self.rnn(self.embedding(x))[0])


def train():
    model = Characters()
    optimizer = torch.optim.Adam(model.parameters())
    loop = Loop(logs=False)
    for _ in loop:
        x = torch.randint(0, 96, (16, 65))
        loss = nn.functional.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    train()
