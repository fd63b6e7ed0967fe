# fix: gradient_norms, removed: the norms are taken every 20 steps instead of with .item() of each parameter in each step
"""A deep narrow network whose gradient norms are logged."""
import torch
from torch import nn

from common import FIXED, Loop

torch.set_num_threads(1)


def gradient_norms(model):
    result = {}
    for name, parameter in model.named_parameters():
        result[f"{name}/norm"] = parameter.grad.norm().item()
        result[f"{name}/top"] = parameter.grad.abs().max().item()
        result[f"{name}/share"] = (parameter.grad == 0).float().mean().item()
    return result


def main():
    model = nn.Sequential(*[layer for _ in range(24) for layer in (nn.Linear(48, 48), nn.ReLU())])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loop = Loop()
    while loop.running():
        x = torch.randn(128, 48)
        loss = (model(x) - x.relu()).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values = {"loss": loss.item()}
        if not FIXED or loop.steps % 20 == 0:
            values["norm"] = max(gradient_norms(model).values())
        loop.done(**values)


if __name__ == "__main__":
    main()
