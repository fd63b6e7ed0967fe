"""Lloyd's k-means in numpy over batches of descriptors. The work is in one line."""

import numpy as np
from pace import more, unit_done

DIM = 32
CENTRES = 48


def descriptors(rng, count):
    kinds = rng.integers(0, 12, count)
    return rng.standard_normal((count, DIM)) + 3 * np.sin(kinds[:, None] * np.arange(DIM))


def assign(points, centres):
    return ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2).argmin(axis=1)


def update(points, centres, labels):
    sums = np.zeros_like(centres)
    np.add.at(sums, labels, points)
    counts = np.bincount(labels, minlength=len(centres))
    moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return 0.9 * centres + 0.1 * moved


def inertia(points, centres, labels):
    return float(((points - centres[labels]) ** 2).sum() / len(points))


def run():
    rng = np.random.default_rng(9)
    centres = descriptors(rng, CENTRES)
    history = []
    while True:
        points = descriptors(rng, 900 + int(700 * more()))
        labels = assign(points, centres)
        centres = update(points, centres, labels)
        history.append(inertia(points, centres, labels))
        unit_done()
        if len(history) % 25 == 0:
            print(f"inertia {np.mean(history[-25:]):.3f}", flush=True)


if __name__ == "__main__":
    run()
