import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from pace import more, unit_done
from torch.utils.tensorboard import SummaryWriter

torch.set_num_threads(1)
torch.set_flush_denormal(True)


class Block(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv1 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(ch)
        self.conv2 = nn.Conv2d(ch, ch, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(ch)

    def forward(self, x):
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(out)))


class SmallResNet(nn.Module):
    def __init__(self, ch=24, classes=6):
        super().__init__()
        self.stem = nn.Conv2d(3, ch, 3, padding=1)
        self.blocks = nn.ModuleList(Block(ch) for _ in range(3))
        self.head = nn.Linear(ch, classes)

    def forward(self, x):
        x = self.stem(x)
        for b in self.blocks:
            x = b(x)
        return self.head(x.mean((2, 3)))


def robust_range(act, sample):
    """1st and 99th percentile of some of the activations, for calibrating int8 later"""
    flat = act.detach().flatten()
    pick = torch.randint(0, flat.numel(), (sample,))
    lo, hi = torch.quantile(flat[pick], torch.tensor([0.01, 0.99]))
    return lo.item(), hi.item()


def attach_probes(net, store):
    def make(name):
        running = [0.0, 0.0]

        def hook(_module, _inputs, output):
            sample = 1500 + int(38000 * more())
            for i, v in enumerate(robust_range(output, sample)):
                running[i] = 0.9 * running[i] + 0.1 * v
            store[name] = running[1] - running[0]

        return hook

    return [m.register_forward_hook(make(n)) for n, m in net.named_modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]


def images(n=16, size=20, classes=6):
    proto = torch.randn(classes, 3, size, size)
    while True:
        y = torch.randint(0, classes, (n,))
        x = proto[y] + torch.randn(n, 3, size, size)
        if torch.rand(()) < 0.5:
            x = x.flip(3)
        yield x, y


if __name__ == "__main__":
    torch.manual_seed(0)
    writer = SummaryWriter(sys.argv[1], flush_secs=2)
    net, ranges = SmallResNet(), {}
    attach_probes(net, ranges)
    opt = torch.optim.SGD(net.parameters(), lr=0.02, weight_decay=1e-4)
    for step, (x, y) in enumerate(images()):
        logits = net(x)
        loss = F.cross_entropy(logits, y)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        writer.add_scalar("train/loss", loss.item(), step)
        writer.add_scalar("train/acc", (logits.argmax(1) == y).float().mean().item(), step)
        if step % 10 == 0:
            for name, width in ranges.items():
                writer.add_scalar(f"range/{name}", width, step)
        unit_done()
