"""A candidate: which student, taught how, in how many bits; and what was found of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..artifact import Artifact
from ..runtimes.timing import CallTimes, TimeRatio
from .measuring import ShareFound

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
class CandidateFound:
    """On the validation. `times` is of its fastest runtime; `faster` is against the teacher's fastest in fp32."""

    number: int
    choice: CandidateChoice
    artifact: Artifact
    accuracy: ShareFound
    kept: ShareFound
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
