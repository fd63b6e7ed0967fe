"""The visible ranks of a run, and the GPUs of a process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .activity import RunActivity, newest_by_rank, whole
from .identity import MOST_RANKS


class RanksSeen(NamedTuple):
    seen: list[int]  # of which a process or a line was seen
    world_size: int | None
    note: str  # one sentence where some are missing: "8 of 16 ranks; 8-15 are not on this host"


def ranks_of(activity: RunActivity, host: str) -> RanksSeen:
    """From the start events of all hosts that write to this folder, and the processes of this one."""
    starts, seen = newest_by_rank(activity.starts), newest_by_rank(activity.seen)
    sizes = [
        *(event.fields.get("world_size") for event in [*seen.values(), *starts.values()]),
        activity.info.get("world_size"),
    ]
    world_size = next((size for size in map(whole, sizes) if size and size <= MOST_RANKS), None)
    away = {
        rank: str(event.fields["host"])
        for rank, event in starts.items()
        if event.fields.get("host") not in (None, "", host)
    }
    here = sorted(rank for rank in starts.keys() | seen.keys() if world_size is None or rank < world_size)
    here = here or ([0] if world_size is None or world_size == 1 else [])
    return RanksSeen(here, world_size, _note(here, world_size, away))


def _note(seen: list[int], world_size: int | None, away: Mapping[int, str]) -> str:
    if world_size is None or (len(seen) >= world_size and not away):
        return ""
    if set(seen) == away.keys() == set(range(world_size)) and len(hosts := {*away.values()}) == 1:
        return f"on {hosts.pop()}"
    missing = sorted(set(range(world_size)) - set(seen)) if world_size <= 4096 else []
    parts = [
        f"{ranges([rank for rank, name in away.items() if name == host])} {_are(away, host)} on {host}"
        for host in sorted({*away.values()})
    ]
    if missing:
        parts.append(f"{ranges(missing)} {'is' if len(missing) == 1 else 'are'} not on this host")
    return f"{len(seen) - len(away)} of {world_size} ranks" + "".join(f"; {part}" for part in parts)


def _are(away: Mapping[int, str], host: str) -> str:
    return "is" if sum(name == host for name in away.values()) == 1 else "are"


def ranges(numbers: Iterable[int]) -> str:
    """`[0, 1, 2, 5] -> "0-2, 5"`"""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(lo) if lo == hi else f"{lo}-{hi}" for lo, hi in spans)


class Gpus(NamedTuple):
    indices: list[int]
    source: str  # "driver", "CUDA_VISIBLE_DEVICES", or "" where nothing says it


def gpus_of(pids: Collection[int], environment: Mapping[str, str], gpus: Sequence[Mapping[str, Any]]) -> Gpus:
    """Those on which the driver lists one of the pids, else what CUDA_VISIBLE_DEVICES leaves visible; never assumed.

    `gpus` are rows of the inventory: whole cards or MIG instances, in PCI order.
    """
    used = sorted({gpu["index"] for gpu in gpus for process in gpu.get("processes", ()) if process["pid"] in pids})
    if used:
        return Gpus(used, "driver")
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    found = None if visible is None else _visible(visible, environment.get("CUDA_DEVICE_ORDER", ""), gpus)
    return Gpus(sorted(set(found)), "CUDA_VISIBLE_DEVICES") if found else Gpus([], "")


def _visible(devices: str, order: str, gpus: Sequence[Mapping[str, Any]]) -> list[int] | None:
    """As CUDA reads it: up to the first word that names no device. None where numbers do not say which card is meant."""
    by_uuid = [(str(gpu["uuid"]), int(gpu["index"])) for gpu in gpus]
    cards = sorted({int(gpu["index"]) for gpu in gpus})
    same = len({gpu.get("name") for gpu in gpus if gpu.get("mig") is None}) == 1
    found: list[int] = []
    for word in map(str.strip, devices.split(",")):
        if word.isascii() and word.isdigit():
            if order != "PCI_BUS_ID" and not same:
                return None  # CUDA numbers the fastest first, and does not say which that is
            if int(word) not in cards:
                break
            found.append(int(word))
        else:
            named = {index for uuid, index in by_uuid if word and uuid.startswith(word)}
            if len(named) != 1:
                break
            found += named
    return found
