"""Which line keeps the memory by which a process grows, from stacks, resident memory and the source."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest

from analysis.findings.memory import host_leak
from analysis.stacks.memory_growth import keeping_lines
from analysis.stacks.retention import Retention
from collectors.records import Frame
from collectors.store.store import ResidentMemory, StackColumns
from tests.support.stacks import columns

FILE = "/home/me/train.py"
STEP = """\
losses = []
def step(batch):
    loss = model(batch)
    losses.append(loss)
def evaluate(batch):
    scores = []
    scores.append(model(batch))
for batch in batches:
    step(batch)
    evaluate(batch)
"""
SECONDS, STEPS = 0.01, 40_000


def line_of(file: str, line: int) -> str:
    lines = STEP.splitlines()
    return lines[line - 1] if file == FILE and line <= len(lines) else ""


def kept(source: str, line: int, stays: bool = False) -> list[int]:
    return [each.line for each in Retention(textwrap.dedent(source)).lines(line, stays)]


@pytest.mark.parametrize(
    "statement",
    [
        "losses.append(loss)",
        "self.seen.add(key)",
        "cache[index] = decoded",
        "total += loss",
        "self.frame = pd.concat([self.frame, row])",
        "self.mean = self.mean + loss",
        "self.rows = [*self.rows, row]",
        "self.rows = {**self.rows, key: row}",
        "heapq.heappush(best, (score, image))",
        "parts.setdefault(key, []).append(value)",
    ],
)
def test_what_is_put_into_something_that_outlives_the_function_is_kept(statement: str) -> None:
    assert kept(f"def step(self, frame):\n    loss = run()\n    {statement}\n", 2) == [3]


@pytest.mark.parametrize(
    "statement",
    [
        "losses.append(loss.item())",
        "losses.append(float(loss))",
        "buffer[step % 8] = batch",
        "config['lr'] = rate",
        "count += 1",
        "rows.append(batch)",
        "out[index] = batch",
        "newest.append(batch)",
    ],
)
def test_numbers_places_that_are_used_again_and_locals_are_not_kept(statement: str) -> None:
    source = f"out, newest = 0, 0\nout = np.empty(9)\nnewest = deque(maxlen=9)\ndef step():\n    rows = []\n    {statement}\n"
    assert kept(source, 5) == []


def test_a_list_of_a_loop_that_stays_is_kept_unless_it_is_made_anew() -> None:
    source = """\
    def main():
        history = []
        for epoch in range(9):
            rows = []
            for batch in data:
                rows.append(batch)
                history.append(batch)
    """
    assert kept(source, 5, stays=True) == [7]
    assert kept(source, 5, stays=False) == [], "both end with the function"


def test_a_cache_without_a_bound_keeps_what_its_function_returns() -> None:
    assert kept("@lru_cache(maxsize=None)\ndef item(i):\n    return load(i)\n", 3) == [3]
    assert kept("@lru_cache(maxsize=64)\ndef item(i):\n    return load(i)\n", 3) == []


def test_what_is_emptied_or_has_a_length_is_not_kept() -> None:
    assert kept("def step():\n    last.append(x)\n    if len(last) > 9:\n        last.pop(0)\n", 2) == []
    assert kept("losses, last = [], deque(maxlen=9)\ndef step():\n    last.append(x)\n    losses.append(x)\n", 3) == [4]


def test_a_local_that_is_bound_again_keeps_nothing_after_its_function() -> None:
    for statement in ("x = x + attention(x)", "x = torch.cat([x, skip])", "x = [*x, skip]"):
        assert kept(f"def forward(x):\n    {statement}\n", 2) == []


def test_a_sum_of_losses_keeps_their_graphs() -> None:
    source = "def train(counts):\n    total = torch.zeros(())\n    counts = np.zeros(9)\n    while True:\n        total = total + loss\n        counts += one\n"
    assert kept(source, 5, stays=True) == [5]


def test_a_call_is_what_its_function_keeps() -> None:
    source = """\
    class Hard:
        def update(self, images):
            self.remember(images)
        def remember(self, images):
            self.examples.append(images)
    def train(hard):
        for images in batches:
            hard.update(images)
    """
    (line,) = Retention(textwrap.dedent(source)).lines(8, True)
    assert line == ("Hard.remember", 5)


def test_what_a_generator_keeps_lives_as_long_as_its_loop() -> None:
    source = """\
    def batches():
        seen = []
        while True:
            seen.append(load())
            yield seen[-1]
    def train():
        for batch in batches():
            step(batch)
    """
    assert kept(source, 4) == [4] and kept(source, 8, stays=True) == [4]


@pytest.mark.parametrize("hook", ["self.keep", "self.make(name)"])
def test_a_hook_is_called_from_within_the_loop(hook: str) -> None:
    source = f"""\
    class Monitor:
        def __init__(self, module):
            module.register_forward_hook({hook})
        def keep(self, module, inputs, output):
            self.seen.append(output)
        def make(self, name):
            def hook(module, inputs, output):
                self.keep(module, inputs, output)
            return hook
    def train(model):
        for batch in batches:
            model(batch)
    """
    assert kept(source, 12, stays=True) == [5]


def test_functions_that_call_each_other_end() -> None:
    assert kept("def f(x):\n    g(x)\ndef g(x):\n    seen.append(x)\n    f(x)\n", 2) == [4]


def test_a_file_that_is_no_python_keeps_nothing() -> None:
    assert kept("def step(:\n", 1) == []


def recorded(growing: int) -> tuple[StackColumns, ResidentMemory]:
    """Samples of a loop half of it within functions; memory grows a page at a time whenever `growing` is the line at work."""
    main = [Frame("<module>", FILE, 9), Frame("<module>", FILE, 10)]
    step, score = (main[0], Frame("step", FILE, 3)), (main[1], Frame("evaluate", FILE, 7))
    stacks = [step, score, (main[0],), (main[1],)]
    order = [stacks[i % 4] for i in range(STEPS)]
    time_s = np.arange(STEPS) * SECONDS
    grows = np.array([stack[-1].line == growing for stack in order])
    window = columns(*((0, 7, SECONDS, stack) for stack in order))
    changed = np.flatnonzero(np.append(True, grows[1:]))
    size = (1e8 + np.cumsum(grows)[changed] * 4096.0).astype(np.float64)
    return window, ResidentMemory((time_s[changed] + 1e-4).astype(np.float64), size)


@pytest.mark.parametrize("growing", [3, 10])
def test_growth_within_a_function_or_right_after_it_names_its_line_that_keeps(growing: int) -> None:
    window, memory = recorded(growing)
    assert keeping_lines(window, 0, memory, "/home/me", line_of) == [Frame("step", FILE, 4)]


def test_a_leak_is_named_and_memory_that_is_steady_is_none() -> None:
    window, memory = recorded(3)
    process = window.processes[0]
    leak = host_leak(window, {process: memory}, "/home/me", line_of)
    assert leak is not None and leak.process == process and [line.line for line in leak.lines] == [4]
    assert leak.bytes_per_s == pytest.approx(4096 / (4 * SECONDS), rel=0.05)
    saw = (1e8 + 1e7 * (np.arange(len(memory.time_s)) % 7)).astype(np.float64)
    steady = ResidentMemory(memory.time_s, saw)
    assert host_leak(window, {process: steady}, "/home/me", line_of) is None
    assert host_leak(window, {}, "/home/me", line_of) is None, "py-spy knows no memory"
