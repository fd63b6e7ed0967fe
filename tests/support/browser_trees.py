"""Trees of stacks for the pure modules of `assets/`, as JavaScript that a test goes on from."""

from __future__ import annotations

FLAME = """
const { Tree } = await load("flame/tree.js");
const names = ["root", "main", "step", "forward", "matmul", "load"];
const flame = {
  seconds: 10, units: 20, per: "step", baseline_seconds: 30, baseline_units: 100,
  frames: names.map((name, i) => ({ name, file: i ? `${name}.py` : "", line: i })),
  nodes: {
    frame: [0, 1, 2, 3, 4, 5],
    parent: [-1, 0, 1, 2, 3, 2],
    total_s: [10, 10, 10, 4, 3, 6],
    self_s: [0, 0, 0, 1, 3, 6],
    untrusted_s: [0, 0, 0, 0, 0, 4],
    base_total_s: [30, 30, 30, 20, 15, 10],
    base_self_s: [0, 0, 0, 5, 15, 10],
    kind: ["own", "own", "own", "own", "library", "own"],
  },
};
const tree = new Tree(flame);
const view = { focus: tree.trunk(), from: 0, to: 1, trunk: tree.trunk() };
"""
LOST = (
    FLAME
    + """
const { basis, mostLost, otherwise, ownWords } = await load("blame/blame.js");
const about = { asked: { from: 0, to: 10 }, now: false, growing: false };
Object.assign(flame, { samples: 1000, sampler: "native", hz: 100, profile_until: null, note: null });
const words = (tree) => {
  const { said, aside } = ownWords({ ...flame, samples: tree.samples }, tree, about);
  return [said.map((part) => part.textContent ?? part).join(""), aside];
};
const named = (kind, names) => {
  flame.nodes.kind = kind;
  names.forEach((name, i) => name && (flame.frames[i] = { ...flame.frames[i], ...name }));
  return new Tree(flame);
};
"""
)
