# leak: update self.examples.append((float(losses[index]), images[index]))
"""Trains a small CNN and remembers the hardest example of each batch."""
import torch
from torch import nn

from common import running

torch.set_num_threads(1)


class HardExamples:
    def __init__(self):
        self.examples = []
        self.threshold = 0.0

    def update(self, images, losses):
        index = int(losses.argmax())
        if losses[index] > self.threshold:
            self.examples.append((float(losses[index]), images[index]))
        self.threshold = 0.5 * float(losses.mean())


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 5, padding=2)
        self.fc = nn.Linear(32 * 7 * 7, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        return self.fc(x.flatten(1))


def batches(size=64):
    while running():
        images = torch.rand(size, 1, 28, 28)
        yield images, (images.mean(dim=(1, 2, 3)) * 1e4).long() % 10


def train():
    net, hard = Net(), HardExamples()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for images, digits in batches():
        losses = nn.functional.cross_entropy(net(images), digits, reduction="none")
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()
        hard.update(images, losses.detach())


if __name__ == "__main__":
    train()
