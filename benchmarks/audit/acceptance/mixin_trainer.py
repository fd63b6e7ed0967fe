import csv
import datetime as dt
import os
import sys

import torch
from pace import more, unit_done


class LoggingMixin:
    def open_log(self, path):
        self._file = open(path, "w", newline="", buffering=1)
        self._csv = csv.writer(self._file)
        self._csv.writerow(["date", "iteration", "loss", "grad_skew"])

    def write(self, *values):
        self._csv.writerow([dt.datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f"), self.it, *values])


class GradStatsMixin:
    every_nth = 400

    def third_moment(self, values):
        m = sum(values) / len(values)
        s2 = s3 = 0.0
        for v in values:
            s2 += (v - m) ** 2
            s3 += (v - m) ** 3
        return s3 / len(values) / ((s2 / len(values)) ** 1.5 + 1e-12)

    def grad_skew(self):
        stride = max(1, int(self.every_nth / (1 + 100 * more())))
        found = []
        for p in self.net.parameters():
            if p.grad is not None:
                found.append(self.third_moment(p.grad.flatten()[::stride].tolist()))
        return max(found, key=abs)


class BaseTrainer:
    def __init__(self, net, lr):
        self.net, self.it = net, 0
        self.opt = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)

    def before_step(self):
        pass

    def loss(self):
        raise NotImplementedError

    def fit(self):
        while True:
            self.opt.zero_grad()
            loss = self.loss()
            loss.backward()
            extra = self.before_step()
            self.opt.step()
            self.it += 1
            self.after_step(loss.item(), extra)
            unit_done()


class AutoencoderTrainer(LoggingMixin, GradStatsMixin, BaseTrainer):
    def loss(self):
        x = torch.randn(64, 6) @ torch.randn(6, 60)
        return (self.net(x) - x).pow(2).mean()

    def before_step(self):
        return self.grad_skew()

    def after_step(self, loss, extra):
        self.write(round(loss, 6), round(extra, 4))


if __name__ == "__main__":
    os.makedirs(sys.argv[1], exist_ok=True)
    net = torch.nn.Sequential(
        torch.nn.Linear(60, 300), torch.nn.Tanh(), torch.nn.Linear(300, 12), torch.nn.Linear(12, 300), torch.nn.Tanh(), torch.nn.Linear(300, 60)
    )
    t = AutoencoderTrainer(net, 1e-4)
    t.open_log(os.path.join(sys.argv[1], "history.csv"))
    t.fit()
