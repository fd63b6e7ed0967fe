import sys

import torch
import torchmetrics
from pace import more, unit_done
from torch.utils.tensorboard import SummaryWriter


class KendallTau(torchmetrics.Metric):
    """pairs of predictions in the right order, all kept since the last reset"""

    full_state_update = False

    def __init__(self):
        super().__init__()
        self.add_state("preds", default=[], dist_reduce_fx="cat")
        self.add_state("target", default=[], dist_reduce_fx="cat")

    def update(self, preds, target):
        self.preds.append(preds.detach())
        self.target.append(target)

    def compute(self):
        p, t = torch.cat(list(self.preds)), torch.cat(list(self.target))
        good = 0
        for i in range(1, len(p)):
            good += ((p[i] - p[:i]) * (t[i] - t[:i]) > 0).sum()
        return good / (len(p) * (len(p) - 1) / 2)


class Module(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.f = torch.nn.Sequential(torch.nn.Linear(30, 500), torch.nn.ReLU(), torch.nn.Linear(500, 500), torch.nn.ReLU(), torch.nn.Linear(500, 1))
        self.tau = KendallTau()

    def step(self, batch, opt):
        x, y = batch
        out = self.f(x).squeeze(1)
        loss = torch.nn.functional.smooth_l1_loss(out, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        self.tau.update(out, y)
        return loss


def batches(n=48):
    w = torch.randn(30)
    while True:
        x = torch.randn(n, 30)
        yield x, x @ w + torch.randn(n)


def reset_after():
    # a longer history gives a smoother curve
    return 2 + round(7 * more())


def train(logdir):
    tb = SummaryWriter(logdir, flush_secs=2)
    m = Module()
    opt = torch.optim.AdamW(m.parameters())
    for i, batch in enumerate(batches()):
        loss = m.step(batch, opt)
        tb.add_scalar("loss", loss.item(), i)
        tb.add_scalar("kendall_tau", m.tau.compute().item(), i)
        m.tau._computed = None
        while len(m.tau.preds) >= reset_after():
            m.tau.preds.pop(0)
            m.tau.target.pop(0)
        unit_done()


train(sys.argv[1])
