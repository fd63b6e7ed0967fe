import json
import queue
import random
import sys
import threading
import time
from pathlib import Path

import torch
from pace import more, unit_done


class Scene:
    def __init__(self, rnd, n):
        self.spheres = [(rnd.random() * 8, rnd.random() * 8, rnd.random() * 1.5 + 0.2) for _ in range(n)]

    def render(self, size=16):
        img = []
        for y in range(size):
            row = []
            for x in range(size):
                v = 0.0
                for sx, sy, r in self.spheres:
                    dx, dy = x / 2 - sx, y / 2 - sy
                    d2 = dx * dx + dy * dy
                    if d2 < r * r:
                        v = max(v, (r * r - d2) ** 0.5)
                row.append(v)
            img.append(row)
        return img


class Feeder(threading.Thread):
    def __init__(self, q):
        super().__init__(daemon=True, name="feeder")
        self.q, self.rnd = q, random.Random(0)

    def make(self):
        n = 4 + int(26 * more())
        scenes = [Scene(self.rnd, n) for _ in range(4)]
        return torch.tensor([s.render() for s in scenes]), torch.full((4,), float(n))

    def run(self):
        while True:
            self.q.put(self.make())


class Counter(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 64, 3)
        self.conv2 = torch.nn.Conv2d(64, 64, 3)
        self.fc = torch.nn.Linear(64 * 144, 1)

    def forward(self, x):
        return self.fc(self.conv2(self.conv(x[:, None]).relu()).relu().flatten(1)).squeeze(1)


def main():
    d = Path(sys.argv[1])
    d.mkdir(parents=True, exist_ok=True)
    q = queue.Queue(maxsize=3)
    Feeder(q).start()
    model = Counter()
    opt = torch.optim.Adam(model.parameters(), 1e-4)
    with (d / "events.jsonl").open("w") as f:
        for n in range(1 << 60):
            x, y = q.get()
            loss = (model(x) - y / 10).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            f.write(json.dumps({"ts": time.time(), "n_step": n, "loss": loss.item(), "queue": q.qsize()}) + "\n")
            f.flush()
            unit_done()


if __name__ == "__main__":
    main()
