"""Operations on images, as a hierarchy: each applies what its base class does and then its own."""

import numpy as np


class Operation:
    def apply(self, image):
        return np.clip(image, 0.0, 1.0)

    def __call__(self, image):
        return self.apply(image)


class Flip(Operation):
    def __init__(self, rng):
        self.rng = rng

    def apply(self, image):
        image = super().apply(image)
        return image[:, ::-1] if self.rng.random() < 0.5 else image


class Blur(Operation):
    def __init__(self, radius):
        self.radius = radius

    def apply(self, image):
        """The mean of a square around each pixel, shift by shift."""
        image = super().apply(image)
        total = np.zeros_like(image)
        reach = range(-self.radius, self.radius + 1)
        for dy in reach:
            for dx in reach:
                total += np.roll(image, (dy, dx), axis=(0, 1))
        return total / len(reach) ** 2


class SoftBlur(Blur):
    def apply(self, image):
        return 0.5 * image + 0.5 * super().apply(image)


class Normalize(Operation):
    def apply(self, image):
        image = super().apply(image)
        return (image - image.mean()) / (image.std() + 1e-6)


class Chain(Operation):
    def __init__(self, *operations):
        self.operations = operations

    def apply(self, image):
        for operation in self.operations:
            image = operation.apply(image)
        return image
