"""The Python standard library's own source, as bytes: real text that every machine has. Shapes: B batch, T time."""

from __future__ import annotations

import os
import sysconfig
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError

VOCABULARY = 256  # a token is a byte
VALIDATION_SHARE = 0.05  # of the files
NOT_DESCENDED = {"site-packages", "dist-packages", "test", "tests", "__pycache__"}


class Text(NamedTuple):
    """Tokens of many files one after the other, from which windows are drawn."""

    tokens: Tensor  # uint8

    @classmethod
    def of(cls, files: list[bytes]) -> Text:
        return cls(torch.frombuffer(bytearray(b"\n".join(files)), dtype=torch.uint8))

    def batch(self, sequences: int, context: int, seed: int) -> tuple[Tensor, Tensor]:
        """tokens_BT and the targets_BT that follow them; the same seed draws the same windows, so a step's number is its position."""
        generator = torch.Generator().manual_seed(seed)
        starts = torch.randint(len(self.tokens) - context, (sequences,), generator=generator).tolist()
        windows_BT = torch.stack([self.tokens[start : start + context + 1] for start in starts]).long()
        return windows_BT[:, :-1], windows_BT[:, 1:]


def load(folder: Path | None = None) -> tuple[Text, Text]:
    """Train and validation, split by file and the same way on every machine: about 11 MB of source, without its tests."""
    folder = folder or Path(sysconfig.get_path("stdlib"))
    train: list[bytes] = []
    validation: list[bytes] = []
    for path in source_files(folder):
        (validation if held_out(path.relative_to(folder)) else train).append(path.read_bytes())
    if not train or not validation:
        raise UserError(f"too little Python source in {folder}: train with a Python that has its standard library as files")
    return Text.of(train), Text.of(validation)


def source_files(folder: Path) -> Iterator[Path]:
    """Sorted. What is not descended into may be large: installed packages stand below the standard library."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NOT_DESCENDED)
        yield from (Path(parent, name) for name in sorted(files) if name.endswith(".py"))


def held_out(path: Path) -> bool:
    return zlib.crc32(path.as_posix().encode()) < VALIDATION_SHARE * 2**32
