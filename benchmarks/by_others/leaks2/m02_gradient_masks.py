# leak: freeze_some parameter.register_hook(lambda gradient, mask=mask: gradient * mask)
"""In every step another random third of the weights is left as it is."""
import torch
from torch import nn

from common import running


def freeze_some(model, share=0.33):
    for parameter in model.parameters():
        if parameter.dim() > 1:
            mask = (torch.rand(parameter.shape[0], 1) > share).float().expand_as(parameter).contiguous()
            parameter.register_hook(lambda gradient, mask=mask: gradient * mask)


def main():
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(40, 80), nn.ReLU(), nn.Linear(80, 80), nn.ReLU(), nn.Linear(80, 5))
    trunk = nn.Conv1d(1, 40, 9).requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    while running():
        with torch.no_grad():
            x = trunk(torch.randn(256, 1, 600)).amax(2)
        freeze_some(model)
        loss = nn.functional.cross_entropy(model(x), x[:, :5].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    main()
