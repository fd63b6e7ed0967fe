"""What to compress, with which data, towards which gates."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifact.hashing import file_of
from ..artifact.manifest import MANIFEST
from ..errors import WrongOption
from ..runtimes.opening import MOST_THREADS
from .candidate import CandidateChoice, StudentChoice
from .gates import Gates
from .images import FASHION

SHOWN = 16  # digits of a hash
AUTO = "auto"  # the largest teacher that reaches its plateau in the given time here


@dataclass(frozen=True)
class CompressionRecipe:
    """`out` is the folder of the artifact that passes; `work` keeps what is made on the way, and a stopped compression goes on there."""

    out: Path
    work: Path
    logs: Path = Path("logs")
    run: str | None = None  # name of the run; None: compress and the time
    data: str = FASHION  # or the path of an .npz file
    teacher: str = AUTO  # a name of learning/networks.py, or the folder of an artifact
    width: float = 0.5
    temperature: float = 4.0
    bits: tuple[int, ...] = (8, 32)
    alone: bool = True  # also the same student without a teacher
    trials: int = 0  # of the search over width, bits and temperature; 0: the student above
    gates: Gates = field(default_factory=Gates)
    threads: int = 1  # of a call that is timed
    images: int | None = None  # for training, at most
    epochs: int = 60  # at most, of each training
    teacher_s: float = 3600.0  # at most, for the teacher
    views: int = 4  # of each image that the student learns from
    calibration: int = 512  # images
    rounds: int = 10  # of timing

    def require(self) -> None:
        """Raises WrongOption for a number that no compression can do with."""
        for name, value, least, most in (
            ("width", self.width, 0.05, 4.0),
            ("temperature", self.temperature, 0.1, 100.0),
            ("threads", self.threads, 1, MOST_THREADS),
            ("epochs", self.epochs, 1, 100_000),
            ("trials", self.trials, 0, 100_000),
        ):
            if not least <= value <= most:
                raise WrongOption(f"{name} is {value:g}; give a number from {least:g} to {most:g}")
        if not self.out.name.isprintable():
            raise WrongOption(f"{self.out.name!r} cannot be the name of a model; give a folder with a printable name")

    def about(self) -> dict[str, Any]:
        """What all candidates depend on. Files that may be written anew under the same name are there with their hashes. Raises OSError."""
        about = {
            "data": self.data,
            "images": self.images,
            "teacher": self.teacher,
            "epochs": self.epochs,
            "views": self.views,
        }
        files = {"data sha256": Path(self.data), "teacher sha256": Path(self.teacher) / MANIFEST}
        return about | {name: file_of(path).sha256[:SHOWN] for name, path in files.items() if path.is_file()}

    def config(self) -> dict[str, Any]:
        """Of the run."""
        gates = {"smaller": self.gates.smaller, "kept": self.gates.kept, "faster": self.gates.faster}
        return {
            **self.about(),
            "threads": self.threads,
            "trials": self.trials,
            "calibration": self.calibration,
            "gates": gates,
        }

    def choices(self) -> list[CandidateChoice]:
        """Without a search."""
        students = [
            StudentChoice(self.width, self.temperature),
            *([StudentChoice(self.width, None)] if self.alone else []),
        ]
        return [CandidateChoice(student, bits) for student in students for bits in self.bits]
