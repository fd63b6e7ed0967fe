"""The machine: GPUs and their processes, collectors, the dashboard itself, and OpenMetrics."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, NamedTuple, NotRequired, cast

from fastapi import APIRouter
from pydantic import BaseModel, Field, StrictInt
from typing_extensions import TypedDict

from access.roles import PROCESSES, Role, RouteNeed, needs
from collectors import catalog
from collectors.catalog import Metric
from collectors.records import OfProcess, Privacy, Public, Searched

from .. import address
from ..attach import AttachedRun, why_not
from ..commands import doctor
from ..machine import Cost, GpuUser, HostProcess, HostSnapshot, Machine, Value
from ..mutations import Changes
from ..queries import DashboardState, Queries
from ..visitors import visitor
from .answers import Answer
from .parameters import MAX_ID


class ProcessRow(TypedDict):
    pid: int
    kind: Literal["compute", "graphics"]
    used_memory_bytes: int | None
    utilization_pct: int | None
    name: Searched
    command: OfProcess
    user: OfProcess
    time_s: float


class GpuRow(TypedDict):
    """A card, or one MIG instance of a card."""

    index: int
    uuid: Public
    name: Public
    memory_total_bytes: int | None
    power_limit_w: float | None
    mig: int | None
    state: Literal["ok", "lost"]
    reason: Searched
    since_s: float | None
    sample_period_s: float | None
    processes: Annotated[list[ProcessRow], Privacy.PROCESS]
    processes_note: Searched


class GpuNow(GpuRow):
    latest: dict[Public, float]  # by metric
    clock_reasons: list[Public]


class LooksRow(TypedDict):
    """The cost of one source of the catalog on this machine."""

    source: Public
    looks: int
    mean_ms: float
    slowest_ms: float
    sentence: Searched


class GpuList(TypedDict):
    gpus: list[GpuNow]
    note: Searched | None
    looks: list[LooksRow]


class GpuUserRow(ProcessRow):
    """`not_attachable` says why the process cannot become a run; "" where it can, or belongs to one."""

    gpu: int
    mig: int | None
    run: Public | None
    rank: int | None
    outside_pytorch_bytes: float | None  # of its memory; null where the run does not log what PyTorch reserves
    not_attachable: Searched


class GpuUserList(TypedDict):
    processes: Annotated[list[GpuUserRow], Privacy.PROCESS]


class HostProcessRow(TypedDict):
    """`worker` is true of a child of the rank's own process."""

    pid: int
    user: str
    command: str
    cpu_cores: float
    resident_bytes: int
    run: str | None
    rank: int | None
    worker: bool


class HostProcessList(TypedDict):
    """The processes that use most CPU, and those that use most memory. `measured_s`: the time over which CPU was measured.

    `busy_cores` is the kernel's account of the whole machine, `other_cores` the part of it that no process visible here has used:
    some have ended since, others may run outside this container.
    """

    time_s: float
    measured_s: float
    cores: int
    busy_cores: float
    other_cores: float
    count: int  # of all visible processes
    processes: list[HostProcessRow]


class CollectorRow(TypedDict):
    name: Public
    state: Literal["ok", "failing", "paused", "stuck"]
    lag_s: float
    last_error: Searched
    waiting: bool  # whether it is at work, or has more to do at once


class RunTroubleRow(TypedDict):
    state: Literal["on", "off", "refused", "starting"]
    sentence: Searched
    remedy: Searched


class ProfileState(RunTroubleRow):
    """While the collector starts, only the first three are known. `runs`: by run, why no stacks of its own processes come."""

    runs: NotRequired[dict[Public, RunTroubleRow]]
    sampler: NotRequired[Public]
    hz: NotRequired[float]
    until: NotRequired[dict[Public, float]]
    processes: NotRequired[int]
    samples: NotRequired[int]
    errors: NotRequired[int]
    about: NotRequired[Searched]


class ProfileAnswer(TypedDict):
    profile: ProfileState


class StateAnswer(TypedDict):
    """`firing`: alerts that hold, and crashes and the like of the last hour; without muted ones."""

    time_s: float
    host: Public
    log_dir: Searched
    read_only: Searched | None
    collectors: list[CollectorRow]
    gpus: list[GpuRow]
    gpu_note: Searched | None
    profile: ProfileState
    problems: list[Searched]
    firing: int
    cost: Cost


class HealthWord(TypedDict):
    """All that a client without a role gets."""

    status: Literal["ok", "degraded"]


class HealthAnswer(HealthWord):
    collectors: list[CollectorRow]
    problems: list[Searched]
    cpu_pct: float
    rss_bytes: int


class SymptomRow(TypedDict):
    """`remedy` is one sentence with the command to type, "" where nothing is to be done; `facts` is for a bug report."""

    name: str
    verdict: Literal["ok", "warning", "wrong"]
    sentence: str
    remedy: str
    facts: dict[str, str | int | float | bool | None]


class DiagnosisAnswer(TypedDict):
    version: str
    time_s: float
    verdict: Literal["ok", "warning", "wrong"]
    checks: list[SymptomRow]


class AttachAction(BaseModel):
    pid: StrictInt = Field(ge=1, le=MAX_ID)


class ProfileAction(BaseModel):
    action: Literal["on", "off", "retry"]


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/gpus", response_model=None, summary="The GPUs with their latest values")
    @needs(Role.VIEWER)
    def gpus() -> Answer[GpuList]:
        return Answer(gpu_list(queries.machine()))

    @router.get("/processes", response_model=None, summary="The processes on each GPU")
    @needs(Role.VIEWER, PROCESSES)
    def processes() -> Answer[GpuUserList]:
        return Answer({"processes": [gpu_user_row(user) for user in queries.gpu_users()]})

    @router.get(
        "/host_processes", response_model=None, summary="The processes that use most CPU and memory of this host"
    )
    @needs(Role.OWNER)
    def host_processes() -> Answer[HostProcessList]:
        return Answer(host_process_list(queries.host_processes()))

    # The owner's thing: it names folders of this host and takes a second of a core. A viewer has no use for it.
    @router.get("/diagnosis", response_model=None, summary="What `deepseek-dashboard doctor --json` prints")
    def diagnosis() -> Answer[DiagnosisAnswer]:
        found = doctor.diagnosis(queries.tree.tops, queries.data_dir, address.port_of(queries.data_dir))
        return Answer(cast(DiagnosisAnswer, found))


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    @router.post("/profile", response_model=None, summary="Turn the profiler on or off, or try refused processes again")
    @needs(Role.OWNER)
    def profile(action: ProfileAction) -> Answer[ProfileAnswer]:
        changes.steer_profile(action.action)
        return Answer({"profile": cast(ProfileState, queries.state().profile)})

    @router.post("/attach", response_model=None, summary="Make a run of a process that is already at work")
    @needs(Role.OWNER)
    def attach(action: AttachAction) -> Answer[AttachedRun]:
        return Answer(changes.attach(action.pid))


def health_route(queries: Queries) -> Callable[[], Answer[HealthAnswer | HealthWord]]:
    @needs(Role.ANYONE)  # without a role, the one word
    def health() -> Answer[HealthAnswer | HealthWord]:
        state = queries.state()
        if not visitor().may(RouteNeed(Role.VIEWER)):
            return Answer({"status": health_answer(state)["status"]})
        return Answer(health_answer(state))

    return health


def gpu_list(machine: Machine) -> GpuList:
    return {
        "gpus": [_gpu_now(gpu, machine.latest(gpu)) for gpu in machine.gpus],
        "note": machine.note,
        "looks": cast(list[LooksRow], machine.looks),
    }


def _gpu_now(gpu: dict[str, Any], latest: dict[str, float]) -> GpuNow:
    reasons = catalog.reasons_of(int(latest.get("gpu/clock_event_reasons", 0)))
    return cast(GpuNow, {**gpu, "latest": latest, "clock_reasons": reasons})


def gpu_user_row(user: GpuUser) -> GpuUserRow:
    run, rank = (user.owner.run, user.owner.rank) if user.owner else (None, None)
    reason = why_not(int(user.process["pid"])) if run is None else ""
    return cast(
        GpuUserRow,
        {
            "gpu": user.gpu,
            "mig": user.mig,
            **user.process,
            "run": run,
            "rank": rank,
            "outside_pytorch_bytes": user.outside_bytes,
            "not_attachable": reason,
        },
    )


def host_process_list(look: HostSnapshot) -> HostProcessList:
    return {
        "time_s": look.time_s,
        "measured_s": look.measured_s,
        "cores": look.cores,
        "busy_cores": round(look.busy_cores, 3),
        "other_cores": round(max(0.0, look.busy_cores - look.counted_cores), 3),
        "count": look.counted,
        "processes": [_host_process_row(process) for process in look.processes],
    }


def _host_process_row(process: HostProcess) -> HostProcessRow:
    owner = process.owner
    return {
        "pid": process.pid,
        "user": process.user,
        "command": process.command,
        "cpu_cores": round(process.cpu_cores, 3),
        "resident_bytes": process.resident_bytes,
        "run": owner.run if owner else None,
        "rank": owner.rank if owner else None,
        "worker": owner is not None and owner.is_worker,
    }


def state_answer(state: DashboardState, firing: int) -> StateAnswer:
    return {
        "time_s": state.time_s,
        "host": state.host,
        "log_dir": state.log_dir,
        "read_only": state.read_only,
        "collectors": cast(list[CollectorRow], state.collectors),
        "gpus": cast(list[GpuRow], state.gpus),
        "gpu_note": state.gpu_note,
        "profile": cast(ProfileState, state.profile),
        "problems": state.problems,
        "firing": firing,
        "cost": state.cost,
    }


def health_answer(state: DashboardState) -> HealthAnswer:
    return {
        "status": "ok" if state.status == "ok" else "degraded",
        "collectors": cast(list[CollectorRow], state.collectors),
        "problems": state.problems,
        "cpu_pct": state.cost.cpu_pct,
        "rss_bytes": state.cost.rss_bytes,
    }


# The machine as OpenMetrics text, for Prometheus: `GET /metrics`.
#
# Names come from the catalog, with the base unit of the format as suffix: `gpu/power_w` -> `deepseek_gpu_power_watts`. The
# labels of GPUs are those of dcgm-exporter, so that its dashboards and joins fit.

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PREFIX = "deepseek_"


class Unit(NamedTuple):
    """How a unit of the catalog is written in this format."""

    ending: str  # of the catalog's names
    word: str
    factor: float = 1


UNITS = {
    "%": Unit("_pct", "ratio", 0.01),
    "B": Unit("_bytes", "bytes"),
    "B/s": Unit("_bytes_per_s", "bytes_per_second"),
    "W": Unit("_w", "watts"),
    "J": Unit("_j", "joules"),
    "°C": Unit("_c", "celsius"),
    "MHz": Unit("_mhz", "hertz", 1e6),
    "s": Unit("_s", "seconds"),
}
NO_UNIT = Unit("", "")
LABELS = {
    "gpu": "gpu",
    "uuid": "UUID",
    "mig": "GPU_I_ID",
    "host": "Hostname",
}  # ours -> dcgm-exporter's; others keep their name


def render(machine: Machine) -> str:
    """Current values only: silent or lost series are absent, because a scraper adds its own time stamp."""
    models = {gpu["uuid"]: gpu["name"] for gpu in machine.gpus}
    lines = [*_up(machine)]
    for metric, values in itertools.groupby(machine.values, key=lambda value: value.metric):
        lines += _family(metric, list(values), models)
    return "\n".join([*lines, "# EOF"]) + "\n"


def name_of(metric: Metric) -> str:
    """`gpu/sm_clock_mhz -> deepseek_gpu_sm_clock_hertz`; the family's name, without the `_total` of a counter's sample."""
    unit = UNITS.get(metric.unit, NO_UNIT)
    stem = metric.name.removesuffix(unit.ending).replace("/", "_")
    return PREFIX + "_".join(filter(None, [stem, unit.word]))


def _up(machine: Machine) -> Iterator[str]:
    """Whether each GPU answers: the one thing still known of a lost GPU."""
    if machine.gpus:
        yield from (f"# TYPE {PREFIX}gpu_up gauge", f"# HELP {PREFIX}gpu_up 0 while the GPU does not answer.")
    for gpu in machine.gpus:
        labels = {"gpu": gpu["index"], "uuid": gpu["uuid"], "mig": gpu["mig"], "host": machine.host}
        yield f"{PREFIX}gpu_up{_labels(labels, gpu['name'])} {int(gpu['state'] == 'ok')}"


def _family(metric: Metric, values: list[Value], models: Mapping[str, str]) -> Iterator[str]:
    unit, name = UNITS.get(metric.unit, NO_UNIT), name_of(metric)
    yield f"# TYPE {name} {'counter' if metric.counter else 'gauge'}"
    if unit.word:
        yield f"# UNIT {name} {unit.word}"
    yield f"# HELP {name} {_escaped(f'{metric.label}. {metric.description}.')}"
    for value in values:
        labels = _labels(value.labels, models.get(value.labels.get("uuid", "")))
        yield f"{name}{'_total' if metric.counter else ''}{labels} {_number(value.value * unit.factor)}"


def _labels(labels: Mapping[str, Any], model: str | None) -> str:
    known = {LABELS.get(name, name): value for name, value in labels.items() if value is not None}
    if "gpu" in labels:
        known |= {"device": f"nvidia{labels['gpu']}", "modelName": model or ""}
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in sorted(known.items())) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    """15 digits: all of a byte count, none of what multiplying by 0.01 adds."""
    return f"{value:.15g}" if math.isfinite(value) else "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
