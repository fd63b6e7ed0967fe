"""Lines of text are sorted and counted by programs of the system, whose output is trained on."""

import logging
import random
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from pace import more, unit_done
from torch import nn

logging.basicConfig(level="INFO")
log = logging.getLogger("convert")
FILES, TOP = 2, 16


class Corpus:
    """A few files of lines, of two sizes."""

    def __init__(self, folder):
        rng = random.Random(26)
        self.paths = {}
        for lines in (500, 4000, 8000, 12_000, 20_000, 30_000, 45_000):
            path = Path(folder) / f"{lines}.txt"
            path.write_text("".join(f"{rng.randrange(3000)} {rng.random():.6f}\n" for _ in range(lines)))
            self.paths[lines] = path

    def of_size(self, lines):
        return self.paths[min(self.paths, key=lambda known: abs(known - lines))]


def convert(path):
    """The most frequent first words, by a pipeline of sort and uniq."""
    command = f"cut -d' ' -f1 {path} | sort | uniq -c | sort -rn"
    lines = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True).stdout.splitlines()
    return [float(line.split()[0]) for line in lines[:TOP]]


def load_batch(corpus, pool):
    path = corpus.of_size(500 + 16_000 * more())
    rows = list(pool.map(convert, [path] * FILES))
    values = torch.tensor(rows)
    return values / values.max()


def main():
    folder = tempfile.mkdtemp()
    try:
        corpus = Corpus(folder)
        model = nn.Sequential(nn.Linear(TOP, 600), nn.ReLU(), nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, TOP))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        with ThreadPoolExecutor(2, thread_name_prefix="convert") as pool:
            batch = 0
            while True:
                x = load_batch(corpus, pool)
                loss = (model(x) - x).abs().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                batch += 1
                unit_done()
                if batch % 5 == 0:
                    log.info("loss=%.5f", loss.item())
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
