"""Shadows of a model: averages of its weights over several horizons."""

import torch


class Shadow:
    def __init__(self, model, horizon):
        self.decay = 1 - 1 / horizon
        self.values = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def follow(self, model):
        for name, value in model.named_parameters():
            mine = self.values[name]
            mine.mul_(self.decay).add_(value, alpha=1 - self.decay)

    def distance(self, model):
        return sum((self.values[name] - value.detach()).norm().item() for name, value in model.named_parameters())


class Shadows:
    """Those of longer horizons follow only when they are wanted."""

    def __init__(self, model, horizons):
        self.all = [Shadow(model, horizon) for horizon in horizons]

    def update_shadows(self, model, wanted):
        for shadow in self.all[:wanted]:
            shadow.follow(model)

    def nearest(self, model):
        return min(self.all[:3], key=lambda shadow: shadow.distance(model)).decay
