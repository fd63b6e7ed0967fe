"""How the cards of this machine reach each other: by NVLink, or over which part of the PCIe tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

import pynvml as nvml  # the package nvidia-ml-py

from .errors import DRIVER_GONE

Topology: TypeAlias = Mapping[str, Sequence[str]]
"""By kind of way, the pairs of cards: `{"NVLink": ["0-1"], "PCIe, another CPU": ["0-2", "1-2"]}`"""

WAYS = {
    nvml.NVML_TOPOLOGY_INTERNAL: "the same board",
    nvml.NVML_TOPOLOGY_SINGLE: "PCIe, one switch",
    nvml.NVML_TOPOLOGY_MULTIPLE: "PCIe, several switches",
    nvml.NVML_TOPOLOGY_HOSTBRIDGE: "PCIe, the host bridge",
    nvml.NVML_TOPOLOGY_NODE: "PCIe, the same CPU",
    nvml.NVML_TOPOLOGY_SYSTEM: "PCIe, another CPU",
}


def topology_of(handles: Mapping[int, Any]) -> dict[str, list[str]]:
    """Of the cards by index; pairs that the driver says nothing of are left out. Some 0.1 ms a pair.

    Raises the errors that mean that there is no driver.
    """
    found: dict[str, list[str]] = {}
    for (first, one_end), (second, other_end) in combinations(sorted(handles.items(), key=lambda item: item[0]), 2):
        if way := _way(one_end, other_end):
            found.setdefault(way, []).append(f"{first}-{second}")
    return found


def _way(first: Any, second: Any) -> str:
    """ "" where the driver does not know."""
    try:
        if nvml.nvmlDeviceGetP2PStatus(first, second, nvml.NVML_P2P_CAPS_INDEX_NVLINK) == nvml.NVML_P2P_STATUS_OK:
            return "NVLink"
    except nvml.NVMLError as error:
        _pass(error)
    try:
        return WAYS.get(nvml.nvmlDeviceGetTopologyCommonAncestor(first, second), "")
    except nvml.NVMLError as error:
        return _pass(error)


def _pass(error: Any) -> str:
    if error.value in DRIVER_GONE:
        raise error
    return ""
