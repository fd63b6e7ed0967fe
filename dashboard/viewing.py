"""What a viewer sees of an answer, by the types of its fields.

`view_of(LinePage)` walks a type once and makes a function that leaves out of such a value what viewers do not get. Text is left out
unless its type says otherwise (`collectors.records.Public`, `Searched`), and so is what a type does not declare. A type that says
nothing about its text, such as a bare `Any`, is refused.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, NamedTuple, NotRequired, TypeAlias, Union, get_args, get_origin, get_type_hints

import numpy as np
import orjson
from typing_extensions import is_typeddict

from access.roles import DETAILS, PROCESSES, Role
from collectors.records import Privacy, RunJson
from deepseek.log.redaction import LEFT_OUT, is_secret, without_secrets

from .visitors import Visitor, check_grant, sees_all, without_details

View: TypeAlias = Callable[[Any], Any]
NUMBERS = frozenset({int, float, bool, type(None)})
PLAIN = NUMBERS | {str, dict, list, tuple}


class UntypedText(TypeError):
    """A type does not say what viewers get of its text; the message names the field."""


class Grants(NamedTuple):
    """Those of a viewer that change what they see of an answer."""

    details: bool = False
    processes: bool = False


NONE = Grants()


def view_for(shape: Any, asking: Visitor) -> View | None:
    """None where all is seen: by the owner, at no cost."""
    if asking.role is Role.OWNER:
        return None
    return view_of(shape, Grants(asking.has(DETAILS), asking.has(PROCESSES)))


@lru_cache(None)
def view_of(shape: Any, grants: Grants = NONE) -> View | None:
    """None where viewers see all of such a value. Raises UntypedText."""
    return _Compiler(grants).view(shape, getattr(shape, "__name__", str(shape)))


# Records as objects.


class ObjectMakers(dict[type, View]):
    """By the type of a record, a function `lambda record: {"run": record.run, ...}`: 0.3 µs a log line, where `_asdict` takes 0.5."""

    def __missing__(self, kind: type) -> View:
        names = _names_of(kind)
        self[kind] = _maker(names, {}) if names else _same
        return self[kind]


def _maker(names: Iterable[str], views: Mapping[str, View]) -> View:
    """`lambda record: {"run": record.run, "text": view(record.text)}`"""
    known = {f"view_{name}": view for name, view in views.items()}
    pairs = (f"{name!r}: view_{name}(record.{name})" if name in views else f"{name!r}: record.{name}" for name in names)
    made: View = eval(f"lambda record: {{{', '.join(pairs)}}}", known)
    return made


def _names_of(kind: type) -> tuple[str, ...]:
    if is_dataclass(kind):
        return tuple(each.name for each in fields_of(kind) if not each.name.startswith("_"))
    return getattr(kind, "_fields", ())


OBJECT = ObjectMakers()


def as_object(value: Any) -> Any:
    """A record, that is a NamedTuple or a dataclass, as the JSON object that stands for it; any other value as it is."""
    return value if type(value) in PLAIN else OBJECT[type(value)](value)


# Types.


class _Compiler:
    def __init__(self, grants: Grants) -> None:
        self._grants = grants
        self._walked: set[Any] = set()  # types that hold the one at which the walk is

    def view(self, shape: Any, place: str, privacy: Privacy | None = None) -> View | None:
        """`privacy` is what the annotation says, `place` names the type in errors."""
        origin, arguments = get_origin(shape), get_args(shape)
        if hasattr(shape, "__metadata__"):  # Annotated
            found = next((each for each in shape.__metadata__ if isinstance(each, Privacy)), privacy)
            return self.view(shape.__origin__, place, found)
        if origin is NotRequired:
            return self.view(arguments[0], place, privacy)
        if shape is str:
            return self._text(privacy)
        if shape is Any:
            return self._data(privacy, place)
        if shape in NUMBERS or shape is None or origin is Literal or origin is np.ndarray:
            return None
        if isinstance(shape, type) and issubclass(shape, Enum):
            return None
        if origin in (Union, types.UnionType):
            return self._union(arguments, place, privacy)
        if privacy is Privacy.PROCESS and not self._grants.processes:
            return lambda value: value and []
        if is_typeddict(shape) or (isinstance(shape, type) and _names_of(shape)):
            return self._objects([shape], place, privacy)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            if privacy is not None:
                return self._data(privacy, place)
            return self._mapping(arguments[0], arguments[1], place)
        if isinstance(origin, type) and issubclass(origin, tuple) and arguments[-1] is not Ellipsis:
            return _tuple_view([self.view(each, f"{place}[{n}]") for n, each in enumerate(arguments)])
        if isinstance(origin, type) and issubclass(origin, Sequence):
            return _list_view(self.view(arguments[0], f"{place}[]"))
        raise UntypedText(f"{place}: {shape!r} does not say what viewers get of it (collectors.records.Privacy)")

    def _text(self, privacy: Privacy | None) -> View | None:
        if self._grants.details or privacy is Privacy.PUBLIC:
            return None
        if privacy is Privacy.PROCESS and self._grants.processes:
            return None
        return _searched if privacy is Privacy.SEARCHED else hidden

    def _data(self, privacy: Privacy | None, place: str) -> View | None:
        if privacy is None:
            raise UntypedText(f"{place}: Any does not say what viewers get of it (collectors.records.Privacy)")
        if self._grants.details or privacy is Privacy.PUBLIC:
            return None
        return searched_data if privacy is Privacy.SEARCHED else hidden

    def _union(self, parts: Sequence[Any], place: str, privacy: Privacy | None) -> View | None:
        """By the kind of JSON that a value is; of two types of a kind, what the more private one says."""
        views: dict[str, View | None] = {}
        for kind in {_kind_of_type(each) for each in parts}:
            some = [each for each in parts if _kind_of_type(each) == kind]
            if kind == "object":
                views[kind] = self._objects(some, place, privacy)
            else:
                views[kind] = next(filter(None, (self.view(each, place, privacy) for each in some)), None)
        if not any(views.values()):
            return None
        return lambda value: view(value) if (view := views.get(_kind_of(value), hidden)) else value

    def _objects(self, shapes: Sequence[Any], place: str, privacy: Privacy | None = None) -> View | None:
        """Of types of objects one of which a value is."""
        is_open, fields = False, dict[str, View | None]()
        for shape in shapes:
            marks = getattr(shape, "__metadata__", ())
            shape = _bare(shape)
            is_open = is_open or Privacy.OPEN in (privacy, *marks)
            if shape in self._walked:
                raise UntypedText(f"{place}: {shape!r} holds itself")
            self._walked.add(shape)
            for name, hint in get_type_hints(shape, include_extras=True).items():
                if is_typeddict(shape) or name in _names_of(shape):
                    view = self.view(hint, f"{place}.{name}")
                    fields[name] = view or fields.get(name)
            self._walked.remove(shape)
        if not any(fields.values()) and not is_open and not any(is_typeddict(_bare(each)) for each in shapes):
            return None  # records have no other fields
        other = searched_data if not self._grants.details else _same
        return _object_view(fields, other if is_open else None)

    def _mapping(self, key: Any, item: Any, place: str) -> View | None:
        key_view, item_view = self.view(key, f"the keys of {place}"), self.view(item, f"{place}[]")
        if key_view is None and item_view is None:
            return None
        key_of, item_of = key_view or _same, item_view or _same

        def shown(value: Any) -> Any:
            return (
                {key_of(key): item_of(item) for key, item in value.items()}
                if isinstance(value, Mapping)
                else hidden(value)
            )

        return shown


def _bare(shape: Any) -> Any:
    return shape.__origin__ if hasattr(shape, "__metadata__") else shape


def _kind_of_type(shape: Any) -> str:
    """What JSON makes of its values: text, object, list, any; number for all that holds no text."""
    bare = _bare(shape)
    origin = get_origin(bare) or bare
    if bare is str or origin is Literal:
        return "text"
    if bare is Any:
        return "any"
    if is_typeddict(bare) or (isinstance(origin, type) and (_names_of(origin) or issubclass(origin, Mapping))):
        return "object"
    if isinstance(origin, type) and issubclass(origin, (Sequence, np.ndarray)):
        return "list"
    return "number"


def _kind_of(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return "text"
    if kind in NUMBERS or isinstance(value, np.number):
        return "number"
    if kind is dict or isinstance(value, Mapping) or _names_of(kind):
        return "object"
    return "list"


# Views.


def _object_view(fields: Mapping[str, View | None], other: View | None) -> View:
    """`other` is of a field that is not declared; without it such a field is left out."""
    views = {name: view for name, view in fields.items() if view is not None}
    makers: dict[type, View] = {}

    def shown(value: Any) -> Any:
        kind = type(value)
        if kind is not dict and (names := _names_of(kind)):
            if kind not in makers:
                makers[kind] = _maker((name for name in names if name in fields), views)
            return makers[kind](value)
        if not isinstance(value, Mapping):
            return hidden(value)
        found = {}
        for name, item in value.items():
            if name in fields:
                found[name] = views[name](item) if name in views else item
            elif other:
                found |= other({name: item})
        return found

    return shown


def _list_view(view: View | None) -> View | None:
    if view is None:
        return None
    return lambda value: list(map(view, value)) if isinstance(value, (list, tuple)) else hidden(value)


def _tuple_view(views: Sequence[View | None]) -> View | None:
    if not any(views):
        return None
    each = [view or _same for view in views]
    return lambda value: [view(item) for view, item in zip(each, value, strict=True)]


def _same(value: Any) -> Any:
    return value


def _searched(value: Any) -> Any:
    return without_details(value) if isinstance(value, str) else value if value is None else hidden(value)


def hidden(value: Any) -> Any:
    """What stands for a value that is left out; numbers stay."""
    if isinstance(value, str):
        return value and LEFT_OUT
    if _is_number(value):
        return value
    return [LEFT_OUT] if isinstance(as_object(value), (list, tuple)) else value and LEFT_OUT


# Data that a program or a user wrote: there any text may be anything.

MIN_NUMBER = 1000  # of a secret name: smaller numbers are settings
NOT_FINITE = frozenset(["NaN", "Infinity", "-Infinity"])
VALUES = frozenset(["text", "value", "val"])  # beside a name
NAMED_BY = ("name", "key", "variable", "header")  # what such a name stands under
PRIVATE_FIELDS = frozenset(get_type_hints(RunJson))
PRIVATE_SECTIONS = frozenset(["command", "environment"])  # of a comparison of runs
MAX_DEPTH = 100


def searched_data(value: Any, public: Collection[str] = (), depth: int = MAX_DEPTH) -> Any:
    """Without the fields of `RunJson`, values of secret names, and what is to be left out of text; names are text, too.

    `public` are names of fields whose text is no prose.
    """
    if isinstance(value, str):
        return without_details(value)
    if type(value) in NUMBERS:
        return value
    if depth == 0:
        return LEFT_OUT
    value = as_object(value)
    if isinstance(value, Mapping):
        value = _without_named_secret(value)
        return {
            without_details(key) if isinstance(key, str) else key: item
            if key in public and isinstance(item, str)
            else hidden(item)
            if isinstance(key, str) and (_is_private(key) or (is_secret(key) and _is_worth_hiding(item)))
            else searched_data(item, public, depth - 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        if _are_pairs(value):
            return [
                list(pair) for name, item in value for pair in searched_data({name: item}, public, depth - 1).items()
            ]
        return value if _is_column(value) else [searched_data(item, public, depth - 1) for item in _words(value)]
    if _is_number(value):
        return value
    return searched_data(
        value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value), public, depth - 1
    )


def bytes_for_viewer(data: bytes) -> bytes:
    """Of a text or JSON that a run logged, in UTF-8."""
    if sees_all():
        return data
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return without_details(data.decode("utf-8", "replace")).encode()
    return orjson.dumps(searched_data(value))


def hides(section: str, key: str) -> bool:
    """Whether values of a run's description are left out for who asks: `("command", "cwd")`, `("config", "api_key")`."""
    return not sees_all() and (section in PRIVATE_SECTIONS or _is_private(key) or is_secret(key))


def check_key(key: str) -> None:
    """Of what runs are grouped by: its values become names. Raises NotGranted."""
    if hides("", key):
        check_grant(DETAILS)


def _are_pairs(values: Sequence[Any]) -> bool:
    """`[["password", "abc"], ["lr", 0.1]]`: a table as a list."""
    return bool(values) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str) for pair in values
    )


def _is_private(key: str) -> bool:
    """`argv`, and `env.HOME`, as columns name what lies in tables."""
    return key in PRIVATE_FIELDS or ("." in key and not PRIVATE_FIELDS.isdisjoint(key.split(".")))


def _words(items: Sequence[Any]) -> Sequence[Any]:
    """Of a list that may be a command line, `["--token", "abc"]`, or a pair, `["HF_TOKEN", "abc"]`: without what its own words say are secrets."""
    if not any(isinstance(item, str) for item in items):
        return items
    if len(items) == 2 and isinstance(items[0], str) and ("_" in items[0] or "-" in items[0]) and is_secret(items[0]):
        return [items[0], hidden(items[1])]
    words = iter(without_secrets(str(item) for item in items if isinstance(item, (str, int, float))))
    return [_same_kind(item, next(words)) if isinstance(item, (str, int, float)) else item for item in items]


def _same_kind(item: Any, word: str) -> Any:
    """A number stays one, unless it was left out."""
    return item if not isinstance(item, str) and word != LEFT_OUT else word


def _is_worth_hiding(value: Any) -> bool:
    """Of a secret name: a text, a number that is no setting, and a list or table that has such."""
    value = as_object(value)
    if isinstance(value, str):
        return value != ""
    if isinstance(value, (list, tuple)):
        return any(map(_is_worth_hiding, value))
    if isinstance(value, Mapping):
        return any(map(_is_worth_hiding, value.values()))
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) >= MIN_NUMBER


def _without_named_secret(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """`{"name": "api_key", "text": "abc"} -> {"name": "api_key", "text": "<left out>"}`"""
    if VALUES.isdisjoint(row) or not any(is_secret(name) for key in NAMED_BY if isinstance(name := row.get(key), str)):
        return row
    return {key: LEFT_OUT if key in VALUES else item for key, item in row.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (bool, int, float, type(None))) or (
        isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf"
    )


def _is_column(values: Sequence[Any]) -> bool:
    """Of numbers alone, those that are none among them: half a millisecond for 10,000."""
    kinds = set(map(type, values))
    return (
        bool(values)
        and kinds - {str} <= NUMBERS
        and (str not in kinds or {each for each in values if type(each) is str} <= NOT_FINITE)
    )
