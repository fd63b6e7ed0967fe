import sys
import time

import torch
from pace import more, unit_done


class Shampoo(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-2, eps=1e-4):
        super().__init__(params, dict(lr=lr, eps=eps))

    @staticmethod
    def inverse_root(mat, iters):
        """coupled Newton; ill-conditioned matrices need more iterations"""
        n = mat.shape[0]
        eye = torch.eye(n)
        z = 1.0 / mat.norm()
        x, m = eye * z**0.25, mat * z
        for _ in range(iters):
            t = (1.25 * eye) - 0.25 * m
            x = x @ t
            t2 = t @ t
            m = t2 @ t2 @ m
        return x

    @torch.no_grad()
    def step(self, closure=None):
        iters = 3 + int(4 * more())
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                g = p.grad
                if g.dim() != 2:
                    p.add_(g, alpha=-group["lr"])
                    continue
                st = self.state[p]
                if not st:
                    st["l"] = torch.eye(g.shape[0]) * group["eps"]
                    st["r"] = torch.eye(g.shape[1]) * group["eps"]
                st["l"].mul_(0.95).add_(g @ g.T)
                st["r"].mul_(0.95).add_(g.T @ g)
                upd = self.inverse_root(st["l"], iters) @ g @ self.inverse_root(st["r"], iters)
                p.add_(torch.nan_to_num(upd).clamp(-1, 1), alpha=-group["lr"] * 0.01)


def main(f):
    net = torch.nn.Sequential(torch.nn.Linear(72, 96), torch.nn.ReLU(), torch.nn.Linear(96, 72))
    opt = Shampoo(net.parameters())
    i = 0
    while True:
        x = torch.randn(96, 72)
        loss = (net(x) - x.roll(1, 1)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        i += 1
        f.write("%s it %d train_loss %.5f\n" % (time.strftime("%H:%M:%S"), i, loss.item()))
        f.flush()
        unit_done()


if __name__ == "__main__":
    import os

    os.makedirs(sys.argv[1], exist_ok=True)
    main(open(os.path.join(sys.argv[1], "shampoo.log"), "w"))
