"""A tree-structured Parzen estimator in plain Python, as in libraries for hyperparameters."""

import math
import random


class Parzen:
    def __init__(self, low, high, seed):
        self.low, self.high = low, high
        self.rng = random.Random(seed)
        self.trials = []

    def tell(self, x, value):
        self.trials.append((value, x))

    def density(self, x, points):
        width = (self.high - self.low) / max(len(points), 1) ** 0.4
        total = 0.0
        for point in points:
            total += math.exp(-(((x - point) / width) ** 2))
        return total / max(len(points), 1) + 1e-9

    def suggest(self, candidates):
        """The candidate that is likelier among the good trials than among the others."""
        if len(self.trials) < 10:
            return self.rng.uniform(self.low, self.high)
        ordered = [x for _, x in sorted(self.trials[-400:])]
        good, bad = ordered[: len(ordered) // 4], ordered[len(ordered) // 4 :]
        drawn = [min(self.high, max(self.low, self.rng.gauss(self.rng.choice(good), 0.5))) for _ in range(candidates)]
        return max(drawn, key=lambda x: self.density(x, good) / self.density(x, bad))
