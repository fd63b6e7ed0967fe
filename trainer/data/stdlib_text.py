"""The Python standard library's own source, as bytes: real text that exists on every machine. Shapes: T time."""

from __future__ import annotations

import os
import random
import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UserError
from .sample_order import Batch, Place

VOCABULARY = 256  # a token is a byte
MASK = 256  # the token that hides another
IGNORED = -100  # the target where nothing was hidden; cross_entropy passes it over
HIDDEN_SHARE, MASKED_SHARE, REPLACED_SHARE = (
    0.15,
    0.8,
    0.1,
)  # BERT's (arXiv 1810.04805): of the tokens; of the hidden ones, twice
VALIDATION_SHARE = 0.05  # of the files
NOT_DESCENDED = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}


class Windows:
    """Windows of the text: tokens_T and targets_T, which are one token ahead."""

    def __init__(self, tokens: Tensor, context: int) -> None:
        self.tokens = tokens  # uint8, of many files one after the other
        self.context = context

    def __len__(self) -> int:
        return len(self.tokens) // self.context - 1

    def __getitem__(self, place: Place) -> Batch:
        window_T = self._window(place)
        return window_T[:-1], window_T[1:]

    def _window(self, place: Place) -> Tensor:
        """context + 1 tokens; the start of a window in its stretch of text differs between epochs."""
        start = place.sample * self.context + place.random().randrange(self.context)
        return self.tokens[start : start + self.context + 1].long()


class MaskedWindows(Windows):
    """Windows with a fixed number of hidden tokens, which are the only targets."""

    def __getitem__(self, place: Place) -> Batch:
        window_T = self._window(place)[:-1]
        tokens_T, targets_T = window_T.clone(), torch.full_like(window_T, IGNORED)
        chance = place.random()
        hidden = torch.tensor(chance.sample(range(self.context), round(HIDDEN_SHARE * self.context)))
        targets_T[hidden] = window_T[hidden]
        tokens_T[hidden] = torch.tensor([shown_for(token, chance) for token in window_T[hidden].tolist()])
        return tokens_T, targets_T


def shown_for(token: int, chance: random.Random) -> int:
    """The replacement of a hidden token: mostly the mask, sometimes another token, sometimes the token itself."""
    lot = chance.random()
    if lot < MASKED_SHARE:
        return MASK
    return chance.randrange(VOCABULARY) if lot < MASKED_SHARE + REPLACED_SHARE else token


def load(folder: Path | None = None) -> tuple[Tensor, Tensor]:
    """Train and validation, split by file and the same way on every machine: about 11 MB of source, without its tests."""
    folder = folder or Path(sysconfig.get_path("stdlib"))
    train: list[bytes] = []
    validation: list[bytes] = []
    for path in source_files(folder):
        (validation if is_held_out(path.relative_to(folder)) else train).append(path.read_bytes())
    if not train or not validation:
        raise UserError(
            f"too little Python source in {folder}: train with a Python that has its standard library as files"
        )
    return tokens_of(train), tokens_of(validation)


def tokens_of(files: list[bytes]) -> Tensor:
    return torch.frombuffer(bytearray(b"\n".join(files)), dtype=torch.uint8)


def source_files(folder: Path) -> Iterator[Path]:
    """Sorted. Skipped folders may be large: installed packages are below the standard library."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NOT_DESCENDED)
        yield from (Path(parent, name) for name in sorted(files) if name.endswith(".py"))


def is_held_out(path: Path) -> bool:
    return zlib.crc32(path.as_posix().encode()) < VALIDATION_SHARE * 2**32
