"""Settings of the daemon, a file of JSON."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import NamedTuple

from .plan import USUAL, PlanRules
from .slurm import SlurmSite, site_of
from .state_folder import QueueError

SLURM = "slurm"  # the object of the site's settings
VARIABLE = "DEEPSEEK_JOBS_SLURM"  # the same, where the rules have none


class DaemonRules(NamedTuple):
    plan: PlanRules = USUAL
    look_s: float = 10.0  # between two looks at the host, at most
    stop_s: float = 120.0  # from SIGTERM until SIGKILL
    measured_s: float = 600.0  # after which the memory and activity of a job are taken for its family's
    stuck_s: float = 1800.0  # after which a job that no end of another one helps is said to be stuck
    slurm: SlurmSite = SlurmSite()


OWN = [name for name in DaemonRules._fields if name not in ("plan", SLURM)]


def rules_from(path: Path | None) -> DaemonRules:
    """Of the file, if there is one, and the environment. Raises QueueError: one sentence with the name of what is wrong."""
    rules, has_slurm = _rules_from(path) if path else (DaemonRules(), False)
    if not (text := os.environ.get(VARIABLE)) or has_slurm:
        return rules
    try:
        found = json.loads(text)
    except ValueError as error:
        raise QueueError(f'{VARIABLE} is no JSON ({error}); write it as in {{"partition": "gpu"}}') from None
    return rules._replace(slurm=_site(found, VARIABLE))


def _site(found: object, where: str) -> SlurmSite:
    if not isinstance(found, dict):
        raise QueueError(f'{where}: slurm is an object such as {{"partition": "gpu"}}, not {found!r:.100}')
    return site_of(found)


def _rules_from(path: Path) -> tuple[DaemonRules, bool]:
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise QueueError(f"cannot read the rules in {path} ({error.strerror}); give --rules another file") from None
    except ValueError as error:
        raise QueueError(f'{path} is no JSON ({error}); write it as in {{"stop_s": 60}}') from None
    if not isinstance(found, dict):
        raise QueueError(f'{path} holds no object; write it as in {{"stop_s": 60}}')
    slurm = found.pop(SLURM, None)
    site = SlurmSite() if slurm is None else _site(slurm, str(path))
    for name, value in found.items():
        if name not in OWN and name not in PlanRules._fields:
            raise QueueError(
                f"{path}: there is no rule {name!r}; there are {', '.join([*OWN, SLURM, *PlanRules._fields])}"
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise QueueError(f"{path}: {name} is a number of at least 0, not {value!r}")
    plan = USUAL._replace(**{name: value for name, value in found.items() if name in PlanRules._fields})
    rules = DaemonRules(plan, **{name: value for name, value in found.items() if name in OWN}, slurm=site)
    return rules._replace(look_s=max(0.05, rules.look_s)), slurm is not None
