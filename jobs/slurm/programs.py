"""Call a program of Slurm: without a shell, for a limited time, with a limited answer."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import QueueError

MOST_BYTES = 64 << 20  # of an answer: about 6,000 jobs, as Slurm 24.11 prints them
MOST_ERROR_BYTES = 1 << 16
AT_ONCE_BYTES = 1 << 16
PING_S = 2.0
NO_CLUSTER = "configuration source"  # what Slurm's programs say on a host that belongs to none
OF_A_JOB = (
    "SLURM_",
    "SQUEUE_",
    "SCONTROL_",
)  # variables of a job in which we may be, and of formats for a reader's eyes
KEPT = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS")


class SlurmError(QueueError):
    """A sentence for the user."""


class Printed(NamedTuple):
    """What a program printed, and how it ended."""

    output: bytes
    errors: str
    code: int

    def sentence(self) -> str:
        """What Slurm says is wrong: `sbatch: error: invalid partition specified: x` -> `invalid partition specified: x`"""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        said = [line.partition("error: ")[2] or line for line in lines]
        final = next((line for line in said if "failed: " in line), said[-1] if said else "")
        return final.rpartition("failed: ")[2][:300] or f"exit code {self.code}"


def belongs_nowhere(scontrol: str) -> bool:
    """Whether this host knows of no cluster at all; one that does not answer is one. At most two seconds."""
    try:
        return NO_CLUSTER in call([scontrol, "ping"], PING_S).errors
    except SlurmError:
        return False


def call(argv: Sequence[str], within_s: float, most_bytes: int = MOST_BYTES) -> Printed:
    """Raises SlurmError where the program is missing, takes too long, or prints more than `most_bytes`."""
    name = Path(argv[0]).name
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=surroundings(os.environ)
        )
    except OSError as error:
        raise SlurmError(
            f"Slurm's program {name} cannot be run ({error.strerror}); install slurm-client, or submit from a host of the cluster"
        ) from None
    with process:
        try:
            output, errors = _read(process, time.monotonic() + within_s, most_bytes)
            return Printed(output, errors.decode("utf-8", "replace"), process.wait(1))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise SlurmError(
                f"{name} did not answer within {within_s:g} s; is slurmctld up? `scontrol ping` says so"
            ) from None
        except OverflowError:
            raise SlurmError(f"{name} printed more than {most_bytes >> 20} MiB; that is not read") from None
        finally:
            process.kill()


def surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the variables of a job that we may run in: Slurm would hand them on to the new one."""
    return {name: value for name, value in environment.items() if name in KEPT or not name.startswith(OF_A_JOB)}


def _read(process: subprocess.Popen[bytes], until_s: float, most_bytes: int) -> tuple[bytes, bytes]:
    """Both streams to their ends. Raises TimeoutError, OverflowError."""
    assert process.stdout and process.stderr
    found: dict[int, list[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    left = {process.stdout.fileno(): most_bytes, process.stderr.fileno(): MOST_ERROR_BYTES}
    with selectors.DefaultSelector() as selector:
        for descriptor in found:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, until_s - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _ in ready:
                data = os.read(key.fd, AT_ONCE_BYTES)
                left[key.fd] -= len(data)
                if not data:
                    selector.unregister(key.fd)
                elif left[key.fd] >= 0:
                    found[key.fd].append(data)
                elif key.fd == process.stdout.fileno():
                    raise OverflowError
    output, errors = (b"".join(parts) for parts in found.values())
    return output, errors
