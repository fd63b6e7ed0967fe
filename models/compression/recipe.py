"""A compression recipe: student, teaching, bits, and the gates that a candidate must pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..artifact.artifact import MANIFEST, file_of
from ..errors import WrongOption
from ..runtimes import MAX_THREADS
from ..runtimes.pick import CallTimes, TimeRatio
from .data import FASHION
from .measure import ShareEstimate

WIDTHS = (0.25, 0.375, 0.5, 0.625, 0.75)
TEMPERATURES = (2.0, 4.0, 8.0)
BITS = {8: "int8", 32: "fp32"}  # to the precision of the file


@dataclass(frozen=True)
class StudentChoice:
    """`temperature` softens the teacher's answers; None: the student learns from labels alone."""

    width: float
    temperature: float | None

    def __str__(self) -> str:
        """`w0.5-t4`, `w0.5-alone`"""
        return f"w{self.width:g}-{'alone' if self.temperature is None else f't{self.temperature:g}'}"


@dataclass(frozen=True)
class CandidateChoice:
    student: StudentChoice
    bits: int

    def __str__(self) -> str:
        return f"{self.student}-{BITS[self.bits]}"

    def config(self) -> dict[str, Any]:
        """As the configuration of a run: numbers, so that the page can draw them."""
        return {"width": self.student.width, "temperature": self.student.temperature or 0.0, "bits": self.bits}


@dataclass(frozen=True)
class CandidateResult:
    """On the validation. `times` is of its fastest runtime; `faster` is against the teacher's fastest in fp32."""

    number: int
    choice: CandidateChoice
    artifact: Artifact
    accuracy: ShareEstimate
    kept: ShareEstimate
    smaller: float
    runtime: str
    precision: str
    times: CallTimes
    faster: TimeRatio
    refusals: tuple[str, ...]

    def scalars(self) -> dict[str, float]:
        return {
            "candidate/accuracy": self.accuracy.value,
            "candidate/kept": self.kept.value,
            "candidate/size_mb": self.artifact.bytes / 1e6,
            "candidate/smaller": self.smaller,
            "candidate/latency_ms": self.times.p50_ms,
            "candidate/p99_ms": self.times.p99_ms,
            "candidate/cpu_ms": self.times.cpu_ms,
            "candidate/faster": self.faster.value,
            "candidate/passes": float(not self.refusals),
        }


# What a candidate must show: smaller, faster, and nearly as often right, each against the teacher.


@dataclass(frozen=True)
class Gates:
    """`smaller`: bytes of the teacher's exported file by the candidate's. `kept`: share of the teacher's accuracy; the lower end of its 95 %
    interval counts. `faster`: p50 of the teacher in its fastest fp32 runtime of this host, by the candidate's; again the lower end."""

    smaller: float = 12.0
    kept: float = 0.97
    faster: float = 6.7

    def refusals(self, smaller: float, kept: ShareEstimate, faster: TimeRatio | None) -> tuple[str, ...]:
        """A sentence for each gate that is not passed; without a time, that one is not looked at."""
        found = []
        if smaller < self.smaller:
            found.append(f"{smaller:.1f} times smaller, not {self.smaller:g}")
        if kept.lowest < self.kept:
            found.append(f"keeps {kept} of the teacher's accuracy, whose lower end is below {100 * self.kept:g}%")
        if faster is not None and faster.lowest < self.faster:
            found.append(
                f"{faster.value:.1f} times faster ({faster.lowest:.1f} to {faster.highest:.1f}), not {self.faster:g}"
            )
        return tuple(found)


# What to compress, with which data, towards which gates.

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
            ("threads", self.threads, 1, MAX_THREADS),
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
