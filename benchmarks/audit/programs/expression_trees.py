"""Evaluates expressions by a recursive network: deep recursion, one Python call a node."""

import random
import sys

import torch
from pace import more, unit_done
from torch import nn

sys.setrecursionlimit(10_000)
DIM = 24
OPERATORS = ("plus", "minus", "times")


class Node:
    __slots__ = ("left", "name", "right")

    def __init__(self, name, left=None, right=None):
        self.name, self.left, self.right = name, left, right


def grow(rng, depth):
    """A chain that leans to the left: as deep as it has operators."""
    node = Node(rng.randrange(10))
    for _ in range(depth):
        node = Node(rng.choice(OPERATORS), node, Node(rng.randrange(10)))
    return node


class TreeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.digits = nn.Embedding(10, DIM)
        self.cells = nn.ModuleDict({name: nn.Linear(2 * DIM, DIM) for name in OPERATORS})
        self.head = nn.Sequential(nn.Linear(DIM, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))

    def encode(self, node):
        if node.left is None:
            return self.digits(torch.tensor(node.name))
        both = torch.cat([self.encode(node.left), self.encode(node.right)])
        return torch.tanh(self.cells[node.name](both))

    def forward(self, trees):
        return self.head(torch.stack([self.encode(tree) for tree in trees]))


def last_digit(node):
    """Iterative, since it is easier so."""
    stack, operators = [], []
    while node.left is not None:
        operators.append(node.name)
        stack.append(node.right.name)
        node = node.left
    value = node.name
    for name, other in zip(reversed(operators), reversed(stack)):
        value = value + other if name == "plus" else value - other if name == "minus" else value * other
        value %= 10
    return value


def main():
    rng = random.Random(22)
    torch.manual_seed(22)
    net = TreeNet()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    losses = []
    while True:
        trees = [grow(rng, 8 + int(13 * more())) for _ in range(6)]
        loss = nn.functional.cross_entropy(net(trees), torch.tensor([last_digit(tree) for tree in trees]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        unit_done()
        if len(losses) == 20:
            print(f"mean loss {sum(losses) / 20:.3f}", flush=True)
            losses = []


if __name__ == "__main__":
    main()
