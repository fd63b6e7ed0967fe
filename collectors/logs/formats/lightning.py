"""Reads `hparams.yaml` of Lightning: the run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from . import Tally
from .run_json import MAX_INFO_BYTES
from .values import MAX_DEPTH, FieldBudget

FILE = "hparams.yaml"
MAX_YAML_BYTES = 128 << 10  # about 0.05 s
MAX_YAML_DEPTH = 50  # of YAML; what is kept has MAX_DEPTH
TIMESTAMP, SET, BINARY = "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:set", "tag:yaml.org,2002:binary"
TUPLE = "tag:yaml.org,2002:python/tuple"
NAMES = ("tag:yaml.org,2002:python/name:", "tag:yaml.org,2002:python/module:")
UNREAD = object()  # the value of a tag that is not read

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class PlainLoader(_Loader):  # type: ignore[misc]
    """YAML's own types only. Any other tag makes no object: its value is `UNREAD`."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's way; dates stay text
        first: [row for row in rows if row[0] != TIMESTAMP] for first, rows in _Loader.yaml_implicit_resolvers.items()
    }


def _unread(loader: Any, suffix: str, node: yaml.Node) -> object:
    tag = str(node.tag)
    if tag == TUPLE and isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    if tag.startswith(NAMES):
        return tag.partition(":python/")[2].partition(":")[2]
    return UNREAD


PlainLoader.add_multi_constructor("", _unread)
for _tag in (SET, BINARY, TIMESTAMP):
    PlainLoader.add_constructor(_tag, lambda loader, node: UNREAD)


def parse(data: bytes, tally: Tally) -> dict[str, Any] | None:
    """`b"lr: 0.1\\nnet: !!python/object:a.Net {}" -> {"lr": 0.1}`, with one field counted; None where it holds nothing."""
    try:
        _check_depth(data)
        value = yaml.load(data, PlainLoader)  # a safe loader
        plain = _PlainValues(tally).mapping(value, "", 1) if isinstance(value, Mapping) else {}
        fields = FieldBudget(MAX_INFO_BYTES, tally.skip_field).fields(plain)
    except MemoryError:  # no fault of the file
        raise
    except (
        Exception
    ) as error:  # PyYAML's constructors raise whatever Python does: `!!bool x` KeyError, `!!int ""` IndexError
        tally.skip_line(f"not YAML that can be read ({type(error).__name__})")
        return None
    if value is not None and not isinstance(value, Mapping):
        tally.skip_line("not a mapping")
    return fields or None


def _check_depth(data: bytes) -> None:
    """Raises ValueError before the loader goes down into what is too deep for it."""
    depth = 0
    for event in yaml.parse(data, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_YAML_DEPTH:
                raise ValueError("too deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _PlainValues:
    """What was loaded, as values of JSON. Aliases may repeat a part very often, so that the number of its values is bounded, too."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._left = tally, MAX_INFO_BYTES // 4

    def mapping(self, values: Mapping[Any, Any], path: str, depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for key, value in values.items():
            name = str(key)
            for plain in self._plain(value, path + name, depth):
                kept[name] = plain
        return kept

    def _plain(self, value: object, path: str, depth: int) -> list[Any]:
        """The value, or nothing."""
        self._left -= 1
        if value is UNREAD:
            self._tally.skip_field(path, "has a tag that is not read")
            return []
        if self._left < 0 or depth > MAX_DEPTH:
            self._tally.skip_field(path, "is too deep, or does not fit any more")
            return []
        if isinstance(value, Mapping):
            return [self.mapping(value, f"{path}/", depth + 1)]
        if isinstance(value, (list, tuple)):
            return [[plain for item in value[: max(0, self._left)] for plain in self._plain(item, path, depth + 1)]]
        return [value]
