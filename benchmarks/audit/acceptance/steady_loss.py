# nothing is wrong here: trains, evaluates and saves at regular times
import io

import torch
from pace import unit_done


class Data:
    def __init__(self):
        self.w = torch.randn(50, 5)

    def batch(self, n):
        x = torch.randn(n, 50)
        return x, (x @ self.w).argmax(1)


class Run:
    def __init__(self):
        self.data = Data()
        self.net = torch.nn.Sequential(torch.nn.Linear(50, 300), torch.nn.GELU(), torch.nn.Linear(300, 300), torch.nn.GELU(), torch.nn.Linear(300, 5))
        self.opt = torch.optim.AdamW(self.net.parameters(), 1e-3)
        self.sched = torch.optim.lr_scheduler.CosineAnnealingLR(self.opt, 10_000)

    def train_some(self, n):
        total = 0.0
        for _ in range(n):
            x, y = self.data.batch(128)
            loss = torch.nn.functional.cross_entropy(self.net(x), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            self.sched.step()
            total += loss.item()
            unit_done()
        return total / n

    @torch.no_grad()
    def evaluate(self):
        hits = 0
        for _ in range(20):
            x, y = self.data.batch(128)
            hits += (self.net(x).argmax(1) == y).sum().item()
        return hits / (20 * 128)

    def save(self):
        buf = io.BytesIO()
        torch.save(self.net.state_dict(), buf)
        return len(buf.getvalue())


r = Run()
while True:
    print("loss", round(r.train_some(120), 4), flush=True)
    acc, size = r.evaluate(), r.save()
    print("accuracy", round(acc, 3), "saved", size, "bytes", flush=True)
