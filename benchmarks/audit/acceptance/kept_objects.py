import json
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pace import more, unit_done


@dataclass
class Record:
    ident: int
    tags: list = field(default_factory=list)
    parent: object = None
    children: list = field(default_factory=list)


class Journal:
    """keeps who came from whom; old ones fall out"""

    def __init__(self, size=60_000):
        self.records = deque(maxlen=size)
        self.count = 0

    def note(self, n):
        parent = None
        for _ in range(n):
            rec = Record(self.count, [self.count % 7, "seen"], parent)
            if parent is not None:
                parent.children.append(rec)
            parent = rec if self.count % 9 else None
            self.records.append(rec)
            self.count += 1
        return len(self.records)


def main():
    d = Path(sys.argv[1])
    d.mkdir(parents=True, exist_ok=True)
    net = torch.nn.Sequential(torch.nn.Linear(100, 400), torch.nn.ReLU(), torch.nn.Linear(400, 400), torch.nn.ReLU(), torch.nn.Linear(400, 2))
    opt = torch.optim.SGD(net.parameters(), 0.01)
    j = Journal()
    f = (d / "out.jsonl").open("w")
    i = 0
    while True:
        kept = j.note(60 + int(700 * more()))
        x = torch.randn(64, 100)
        loss = torch.nn.functional.cross_entropy(net(x), (x[:, 0] > 0).long())
        opt.zero_grad()
        loss.backward()
        opt.step()
        i += 1
        print(json.dumps({"step": i, "time": time.time(), "loss": loss.item(), "kept": kept}), file=f, flush=True)
        unit_done()


main()
