# solve a heat equation with a network, L-BFGS, residual on an irregular grid
import torch
from pace import more, unit_done

torch.manual_seed(0)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.seq = torch.nn.Sequential(
            torch.nn.Linear(2, 96), torch.nn.Tanh(), torch.nn.Linear(96, 96), torch.nn.Tanh(), torch.nn.Linear(96, 1)
        )

    def forward(self, xt):
        return self.seq(xt)


class Mesh:
    def __init__(self, n):
        self.n = n
        self.points = torch.rand(n, 2)
        self.refined = 0

    def stencil(self, center):
        # the points around one, by distance in a python loop
        cx, ct = self.points[center].tolist()
        near = []
        for i, (x, t) in enumerate(self.points.tolist()):
            d = (x - cx) ** 2 + 4 * (t - ct) ** 2
            if 0 < d < 0.05:
                near.append((d, i))
        near.sort()
        return [i for _, i in near[:5]] or [center]

    def neighbours(self, centers):
        return [self.stencil(c) for c in centers]


class Solver:
    def __init__(self):
        self.net, self.mesh = Net(), Mesh(160)
        self.opt = torch.optim.LBFGS(self.net.parameters(), lr=0.1, max_iter=3, history_size=5)
        self.evals, self.last = 0, float("nan")

    def residual(self, centers):
        u = self.net(self.mesh.points).squeeze(1)
        groups = self.mesh.neighbours(centers)
        smooth = torch.stack([u[g].mean() for g in groups])
        bc = u[self.mesh.points[:, 0] < 0.05].pow(2).sum()
        return (u[centers] - smooth).pow(2).mean() + (u - torch.sin(3.14 * self.mesh.points[:, 0])).pow(2).mean() * 0.1 + bc

    def closure(self):
        self.opt.zero_grad()
        n = 5 + int(45 * more())
        loss = self.residual(torch.randint(0, self.mesh.n, (n,)).tolist())
        loss.backward()
        self.evals += 1
        self.last = loss.item()
        return loss


s = Solver()
k = 0
while True:
    s.opt.step(s.closure)
    k += 1
    unit_done()
    if k % 10 == 0:
        print(f"residual={s.last:.3e}", flush=True)
