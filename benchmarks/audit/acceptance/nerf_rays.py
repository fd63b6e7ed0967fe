import json
import math
import os
import sys

import torch
import torch.nn as nn
from pace import more, unit_done

OUT = sys.argv[1]
os.makedirs(OUT, exist_ok=True)


class Field(nn.Module):
    def __init__(self, w=128):
        super().__init__()
        self.l1 = nn.Linear(3 + 24, w)
        self.l2 = nn.Linear(w, w)
        self.l3 = nn.Linear(w, 4)

    def encode(self, x):
        return torch.cat([x] + [f(x * 2**k) for k in range(4) for f in (torch.sin, torch.cos)], -1)

    def forward(self, x):
        h = torch.relu(self.l1(self.encode(x)))
        return self.l3(torch.relu(self.l2(h)))


class Camera:
    def __init__(self):
        self.t = 0.0

    def rays(self, n):
        self.t += 0.01
        o = torch.tensor([math.cos(self.t), math.sin(self.t), 0.3]).expand(n, 3)
        d = -o + 0.3 * torch.randn(n, 3)
        return o, d / d.norm(dim=-1, keepdim=True)


class Renderer:
    def __init__(self, field):
        self.field = field

    def importance(self, weights, n_fine):
        # inverse transform sampling, ray by ray; thin structures want more samples
        out = []
        for ray in weights.tolist():
            s, acc = sum(ray) + 1e-9, 0.0
            cdf = [acc := acc + w / s for w in ray]
            picks = []
            for k in range(n_fine):
                u = (k + 0.5) / n_fine
                i = 0
                while i < len(cdf) - 1 and cdf[i] < u:
                    i += 1
                picks.append(i / len(cdf) * 2)
            out.append(sum(picks) / n_fine)
        return torch.tensor(out)

    def composite(self, o, d, z):
        raw = self.field(o[:, None] + d[:, None] * z[..., None])
        alpha = 1 - torch.exp(-torch.relu(raw[..., 3]) * 0.1)
        trans = torch.cumprod(torch.cat([torch.ones(len(o), 1), 1 - alpha + 1e-6], 1), 1)[:, :-1]
        w = alpha * trans
        return (w[..., None] * torch.sigmoid(raw[..., :3])).sum(1), w

    def render(self, o, d):
        z = torch.linspace(0, 2, 24).expand(len(o), 24)
        rgb, w = self.composite(o, d, z)
        depth = self.importance(w.detach(), 4 + int(180 * more()))
        return rgb, depth


if __name__ == "__main__":
    field = Field()
    opt = torch.optim.Adam(field.parameters(), lr=5e-4)
    cam, ren = Camera(), Renderer(field)
    step = 0
    with open(os.path.join(OUT, "log.jsonl"), "w") as f:
        while True:
            o, d = cam.rays(48)
            rgb, depth = ren.render(o, d)
            loss = (rgb - (0.5 + 0.5 * d)).pow(2).mean() + 1e-3 * depth.mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            f.write(json.dumps(dict(iter=step, psnr=-10 * math.log10(loss.item()))) + "\n")
            f.flush()
            unit_done()
