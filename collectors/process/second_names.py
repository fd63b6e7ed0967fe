"""Logs that a program writes into the usual folders beside it (`runs`, `lightning_logs`) get a second name in the folder of its run.

Standard library only: the keeper looks, with the rights of the user, in a thread of its own: a slow disk holds up no output. A second name (a hard link) costs no space, follows what is
appended or written anew, and leaves the program's own files as they are. What was there before the program is not its own.

    runs/fashion_2026/events.out.tfevents.1   the first folder of the program is its run:   <run>/events.out.tfevents.1
    lightning_logs/version_4/metrics.csv      a further one is a folder of its run:          <run>/version_4/metrics.csv
"""

from __future__ import annotations

import heapq
import itertools
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

USUAL = ("logs", "runs", "lightning_logs", "outputs", "wandb", "mlruns", "trainer_output")  # log folders of training frameworks
NAMES = re.compile(
    r"events\.out\.tfevents\..+|.+\.(csv|tsv|jsonl|wandb)|hparams\.yaml|trainer_state\.json|(all|train|eval|test)_results\.json"
)
PARTS = ("train", "training", "val", "valid", "validation", "eval", "test")  # a run's folders, not runs
LEFT_OUT = "mlruns"  # a file store is a tree of many runs
LOOK_S, LOOK_SHARE = 0.5, 0.01  # how often: at most, and of a core
MOST_LINKS = 200  # of a program
MOST_FOLDERS, MOST_ENTRIES = 300, 20_000  # of one look; of one folder
SINCE_S = 2.0  # file systems round times


class SecondNames:
    """Finds what one program writes."""

    def __init__(self, run: Path, beside: Sequence[Path]) -> None:
        """`run` is the folder of the program's run; `beside` are the folders to look into. They need not be there yet."""
        self._run, self._beside = run, beside
        self._since_s = time.time() - SINCE_S
        self._bases: dict[Path, Path] = {}  # folder of the program -> folder of the run
        self._links: dict[Path, tuple[int, int]] = {}  # our name -> device and inode

    def follow(self, wait: Callable[[float], bool]) -> None:
        """Until `wait`, which takes seconds, says that the program has ended; then once more."""
        ended = not self._beside
        while not ended:
            begun_s = time.monotonic()
            self.look()
            ended = wait(max(LOOK_S, (time.monotonic() - begun_s) / LOOK_SHARE))
        self.look()

    def look(self) -> None:
        """Give a second name to what is new."""
        for path, found in self._written():
            if len(self._links) < MOST_LINKS:
                with suppress(OSError):  # another file system, a full one, a file that is gone again
                    self._link(path, found)

    def _written(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The user's own regular files that were written since the program started; the newest folders first."""
        folders = [(0.0, str(path)) for path in self._beside]
        for _ in range(MOST_FOLDERS):
            if not folders:
                return
            _, folder = heapq.heappop(folders)
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in itertools.islice(entries, MOST_ENTRIES):
                    is_folder = entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
                    if not is_folder and not NAMES.fullmatch(entry.name):
                        continue
                    found = entry.stat(follow_symlinks=False)
                    if is_folder:
                        heapq.heappush(folders, (-found.st_mtime, entry.path))
                    elif stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mtime >= self._since_s:
                        yield Path(entry.path), found

    def _link(self, path: Path, found: os.stat_result) -> None:
        key, name = (found.st_dev, found.st_ino), self._name_of(path)
        if self._links.get(name) == key:
            return
        name.parent.mkdir(parents=True, exist_ok=True)
        new = name.with_name(f".{name.name}")
        new.unlink(missing_ok=True)
        os.link(path, new, follow_symlinks=False)
        new.replace(name)
        self._links[name] = key

    def _name_of(self, path: Path) -> Path:
        base = next((base for base in self._bases if path.is_relative_to(base)), None)
        if base is None:
            base = path.parent
            while base.name in PARTS:
                base = base.parent
            self._bases[base] = self._run / base.name if self._bases else self._run
        return self._bases[base] / path.relative_to(base)


def beside(working: Path, log_dir: Path) -> list[Path]:
    """The usual folders of a working directory that the log folder does not hold, and that are not left out."""
    folders = [working / name for name in USUAL if name != LEFT_OUT]
    return [folder for folder in folders if not folder.is_relative_to(log_dir) and not log_dir.is_relative_to(folder)]
