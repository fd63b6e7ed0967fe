"""What a sampler that is made of others passes on to each of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from ..records import Profile
from . import Sampler


class Several(ABC):
    """All of a `Sampler` but whom each of the others follows, and what is said of their troubles."""

    @abstractmethod
    def _samplers(self) -> Sequence[Sampler]: ...

    def hurry(self, until_mono_s: float) -> None:
        for sampler in self._samplers():
            sampler.hurry(until_mono_s)

    def profiles(self) -> list[Profile]:
        return [profile for sampler in self._samplers() for profile in sampler.profiles()]

    def retry(self) -> None:
        for sampler in self._samplers():
            sampler.retry()

    def close(self) -> None:
        for sampler in self._samplers():
            sampler.close()
