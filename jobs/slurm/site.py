"""What is particular to a cluster: its partition, account, QOS, and what a slot is there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from ..request import JobRequest
from .programs import SlurmError

SlotKind: TypeAlias = Literal["gpus", "cores"]
NAME = re.compile(r"[\w.@:+,-]{1,200}")
TIME = re.compile(r"(\d+-)?\d{1,6}(:\d{1,2}){0,2}")
NAMES = ("partition", "high_partition", "account", "qos", "high_qos", "gpu_type")
NUMBERS = ("nice", "cores_per_slot", "memory_mib_per_slot")


class SlurmSite(NamedTuple):
    """How jobs are asked for. The defaults are right where users need no more than `sbatch script`."""

    slots: SlotKind = "gpus"  # what a job's slots are
    partition: str = ""
    high_partition: str = ""  # of jobs with --priority high, where the site has one
    account: str = ""
    qos: str = ""
    high_qos: str = ""  # of jobs with --priority high, where the site has one
    nice: int = (
        100  # by how much other jobs step behind, where high ones have neither a partition nor a QOS of their own
    )
    gpu_type: str = ""  # `a100`; "" for any
    cores_per_slot: int = 0  # with each GPU; 0: as the site has it
    memory_mib_per_slot: int = 0  # of the host, with each GPU; 0: as the site has it
    time_limit: str = ""  # `2-00:00:00`; "": the partition's
    options: tuple[str, ...] = ()  # further ones of sbatch, each one word: `--constraint=nvlink`
    programs: Path | None = None  # the folder of sbatch; None: where PATH has it

    def asks(self, request: JobRequest) -> list[str]:
        """Options of sbatch for what the job needs and how urgent it is."""
        return [*self._resources(request), *self._priority(request), *self.options]

    def as_json(self) -> dict[str, object]:
        """What `site_of` takes."""
        return self._asdict() | {"programs": str(self.programs) if self.programs else None}

    def _resources(self, request: JobRequest) -> list[str]:
        """Memory that was declared is a GPU's, which Slurm does not give out, and the host's where slots are cores."""
        memory_mib: float = self.memory_mib_per_slot * request.slots
        if self.slots == "gpus":
            cores = self.cores_per_slot * request.slots
            found = [f"--gpus-per-node={self.gpu_type}{':' if self.gpu_type else ''}{request.slots}"]
        else:
            cores = request.slots
            memory_mib = request.declared_mib or memory_mib
            found = []
        found += [f"--cpus-per-task={cores}"] if cores else []
        found += [f"--mem={int(memory_mib + 0.999)}M"] if memory_mib else []
        return found + ([f"--time={self.time_limit}"] if self.time_limit else [])

    def _priority(self, request: JobRequest) -> list[str]:
        partition = (self.high_partition if request.high else "") or self.partition
        qos = (self.high_qos if request.high else "") or self.qos
        named = {"partition": partition, "qos": qos, "account": self.account}
        found = [f"--{name}={value}" for name, value in named.items() if value]
        steps_behind = not request.high and self.nice and not (self.high_partition or self.high_qos)
        return [*found, *([f"--nice={self.nice}"] if steps_behind else [])]


def site_of(settings: Mapping[str, object]) -> SlurmSite:
    """Of what a user has written, by the names above. Raises SlurmError with the name of the setting."""
    if unknown := sorted(settings.keys() - set(SlurmSite._fields)):
        raise SlurmError(f"slurm: there is no setting {unknown[0]!r}; there are {', '.join(SlurmSite._fields)}")
    return SlurmSite(
        **{name: _checked(name, value) for name, value in settings.items() if (name, value) != ("programs", None)}
    )


def _checked(name: str, value: object) -> Any:
    if name == "slots" and value in get_args(SlotKind):
        return value
    if name in NAMES and isinstance(value, str) and (not value or NAME.fullmatch(value)):
        return value
    if name in NUMBERS and isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31:
        return value
    if name == "time_limit" and isinstance(value, str) and (not value or TIME.fullmatch(value)):
        return value
    if (
        name == "options"
        and isinstance(value, list | tuple)
        and all(isinstance(each, str) and each.startswith("--") for each in value)
    ):
        if any("\0" in each for each in value):
            raise SlurmError("slurm: options cannot have NUL bytes")
        return tuple(value)
    if name == "programs" and isinstance(value, str) and value.startswith("/"):
        return Path(value)
    examples = {
        "slots": "gpus or cores",
        "time_limit": "a time such as 2-00:00:00",
        "options": 'a list of options such as ["--constraint=nvlink"]',
        "programs": "the path of a folder",
        **dict.fromkeys(NUMBERS, "a whole number, at least 0"),
    }
    raise SlurmError(f"slurm: {name} is {examples.get(name, 'a name as Slurm has it')}, not {value!r:.100}")
