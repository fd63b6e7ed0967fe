# Where is the robot? Particle filter with a fixed-lag smoother; the odometry's bias is learned from the smoothed paths.
from collections import deque

import numpy as np
from pace import more, unit_done

rng = np.random.default_rng(42)
LANDMARKS = rng.uniform(-12, 12, (14, 2))
TRUE_BIAS, RANGE, N = 0.08, 9.0, 2400


def drive():
    """true positions with what was measured: odometry (biased), and distances of the landmarks in range"""
    pos, heading = np.zeros(2), 0.0
    while True:
        if np.abs(pos).max() > 11:
            heading = np.arctan2(-pos[1], -pos[0])
        turn = rng.normal(0, 0.2)
        heading += turn
        pos = pos + 0.4 * np.array([np.cos(heading), np.sin(heading)])
        dist = np.linalg.norm(LANDMARKS - pos, axis=1)
        seen = np.flatnonzero(dist < RANGE)
        yield pos, heading, 0.4 + TRUE_BIAS + rng.normal(0, 0.02), seen, dist[seen] + rng.normal(0, 0.3, len(seen))


def move(parts, heading, odo, bias):
    step = (odo - bias) + rng.normal(0, 0.05, len(parts))
    angle = heading + rng.normal(0, 0.05, len(parts))
    return parts + step[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])


def weigh(parts, seen, dist):
    logw = np.zeros(len(parts))
    for landmark, d in zip(LANDMARKS[seen], dist):
        logw -= (np.hypot(*(parts - landmark).T) - d) ** 2 / (2 * 0.5**2)
    w = np.exp(np.maximum(logw - logw.max(), -50))
    return w / w.sum()


def systematic(w):
    u = (np.arange(N) + rng.random()) / N
    return np.minimum(np.searchsorted(np.cumsum(w), u), N - 1)


def trace_back(history, lag):
    """smoothed positions of the last `lag` moments, by going up the ancestors of today's particles"""
    line = np.arange(N)
    path = []
    for parts, ancestors in list(history)[: -lag - 1 : -1]:
        line = ancestors[line]
        alive = np.unique(line)
        spread = parts[alive].std(axis=0).sum()
        path.append((parts[line].mean(axis=0), spread))
    return path


def learn_bias(bias, path, odometry, rate=0.02):
    pts = np.array([p for p, _ in path[:8]])
    if len(pts) < 3:
        return bias
    walked = np.linalg.norm(np.diff(pts, axis=0), axis=1).mean()
    return bias + rate * (np.mean(odometry) - bias - walked)


history = deque(maxlen=700)
odometry = deque(maxlen=8)
parts, bias, errors, turns = rng.normal(0, 0.5, (N, 2)), 0.0, deque(maxlen=300), 0
world = drive()
while True:
    for _ in range(24):
        truth, heading, odo, seen, dist = next(world)
        odometry.append(odo)
        parts = move(parts, heading, odo, bias)
        kept = systematic(weigh(parts, seen, dist))
        history.append((parts, kept))
        parts = parts[kept]
        errors.append(np.linalg.norm(parts.mean(axis=0) - truth))
    path = trace_back(history, 10 + int(110 * more()))
    bias = learn_bias(bias, path, odometry)
    unit_done()
    turns += 1
    if turns % 15 == 0:
        print(f"rmse {np.sqrt(np.mean(np.square(errors))):.3f}  bias {bias:+.4f}", flush=True)
