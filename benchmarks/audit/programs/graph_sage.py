"""Node classification on a random graph whose neighbourhoods are sampled in Python."""

import json
import random
import sys
import time
from pathlib import Path

import torch
from pace import more, unit_done
from torch import nn

NODES, CLASSES, DIM = 4000, 6, 64
FANOUT = (10, 4)


def make_graph(rng):
    """Preferential attachment: a few nodes have hundreds of neighbours."""
    edges = [[] for _ in range(NODES)]
    ends = [0, 1]
    for node in range(2, NODES):
        for other in {rng.choice(ends) for _ in range(12)}:
            edges[node].append(other)
            edges[other].append(node)
            ends += [node, other]
    return edges


class Sampler:
    def __init__(self, edges, rng):
        self.edges, self.rng = edges, rng
        self.by_degree = sorted(range(NODES), key=lambda node: -len(edges[node]))

    def seeds(self, count):
        """Mostly any nodes; hubs come in stretches."""
        hubs = min(count, int(count * 0.4 * more()))
        nodes = self.by_degree[:12]
        return [self.rng.choice(nodes) for _ in range(hubs)] + [self.rng.randrange(NODES) for _ in range(count - hubs)]

    def sample_neighbours(self, node, count):
        """By weight of their degree, without replacement."""
        neighbours = self.edges[node]
        weights = [len(self.edges[other]) ** 0.5 for other in neighbours]
        chosen = []
        while len(chosen) < min(count, len(neighbours)):
            at = self.rng.random() * sum(weights)
            for index, weight in enumerate(weights):
                at -= weight
                if at <= 0:
                    break
            chosen.append(neighbours[index])
            weights[index] = 0.0
        return chosen

    def layer(self, nodes, fanout):
        return [self.sample_neighbours(node, fanout) or [node] for node in nodes]


class Sage(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Embedding(NODES, DIM)
        self.first = nn.Linear(2 * DIM, DIM)
        self.head = nn.Linear(2 * DIM, CLASSES)

    def mean(self, groups):
        flat = torch.tensor([node for group in groups for node in group])
        at = torch.tensor([i for i, group in enumerate(groups) for _ in group])
        total = torch.zeros(len(groups), DIM).index_add_(0, at, self.features(flat))
        return total / torch.bincount(at, minlength=len(groups))[:, None].clamp(min=1)

    def forward(self, seeds, groups):
        own, others = self.features(torch.tensor(seeds)), self.mean(groups)
        hidden = torch.relu(self.first(torch.cat([own, others], dim=1)))
        return self.head(torch.cat([hidden, own], dim=1))


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(8)
    torch.manual_seed(8)
    sampler = Sampler(make_graph(rng), rng)
    model = Sage()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    with open(folder / "train.jsonl", "a") as log:
        for step in range(10**9):
            seeds = sampler.seeds(64)
            groups = sampler.layer(seeds, FANOUT[0])
            loss = nn.functional.cross_entropy(model(seeds, groups), torch.tensor(seeds) % CLASSES)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.write(json.dumps({"step": step, "time": time.time(), "train/loss": loss.item()}) + "\n")
            log.flush()
            unit_done()


if __name__ == "__main__":
    main()
