"""Answers as JSON with their types, and errors as one sentence."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from inspect import iscoroutinefunction
from operator import attrgetter
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NotRequired,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import numpy as np
import orjson
from fastapi import FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic_core import core_schema
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from access.files import Unwritable
from access.roles import Role, need_of
from collectors.records import Public, Searched
from collectors.store.store import QueryAborted, StoreError, TooMuch
from jobs.state_folder import QueueError

from ..boards.files import VersionConflict
from ..commands.doctor import NoDiagnosis
from ..logs.lines import NoSuchTemplate
from ..logs.search import BadExpression
from ..queries import BadField, BadRequest, NotFound
from ..received_files import OffsetConflict
from ..viewing import OBJECT, as_object, view_for, view_of
from ..visitors import NotGranted, visitor

# JSON of any answer, with arrays of any layout, odd strings and large numbers.

OPTIONS = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
MIN_INT, MAX_INT = -(2**63), 2**64 - 1
MAX_DEPTH = 200  # orjson refuses more than 254 levels
TOO_DEEP = "..."


def encode(value: object, shape: Any) -> bytes:
    """JSON of a value of a type, without what that type does not show to who asks."""
    view = view_for(shape, visitor())
    return dumps(view(value) if view else value)


def dumps(value: object) -> bytes:
    """UTF-8. NamedTuples and dataclasses are objects. A NaN that is not one of `answer.numbers` stands for a missing number and becomes null.

    Lone surrogates become U+FFFD, integers of more than 64 bits strings, and deeper nesting than 200 levels "...".
    """
    try:
        return orjson.dumps(value, _plain, OPTIONS)
    except TypeError:  # rare, so that only such an answer pays for the walk
        return orjson.dumps(_cleaned(value, MAX_DEPTH), _plain, OPTIONS)


def _plain(value: object) -> object:
    """Values that orjson does not accept: NamedTuples, strided arrays, arrays and numbers of other types."""
    if isinstance(value, tuple):
        return OBJECT[type(value)](value)
    if isinstance(value, np.ndarray):
        usual = value.dtype.isnative and value.dtype.kind in "iufb" and value.dtype.itemsize <= 8
        return np.ascontiguousarray(value) if usual and not value.flags.c_contiguous else value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return str(value)


def _cleaned(value: Any, depth: int) -> Any:
    value = as_object(value)
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
        return str(value)
    if isinstance(value, np.ndarray) and not value.dtype.isnative:  # which orjson does not hand to `_plain`
        return value.tolist()
    if isinstance(value, Mapping | list | tuple) and depth == 0:
        return TOO_DEEP
    if isinstance(value, Mapping):
        return {_cleaned(key, depth - 1): _cleaned(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item, depth - 1) for item in value]
    return value


T = TypeVar("T")
FEW = 16  # values, as in a delta: fewer are looked at faster in a list


class Answer(Generic[T]):
    """What a route answers: `-> Answer[RunList]`. `AnswerRoute` writes it as JSON; numpy columns are written unchanged."""

    def __init__(self, content: T) -> None:
        self.content = content  # bytes where it is written already


def answer_type(endpoint: Callable[..., Any]) -> Any:
    """`Answer[RunList] -> RunList`; None for answers that are not JSON."""
    hint = get_type_hints(endpoint, include_extras=True).get("return")
    return next((get_args(part)[0] for part in (hint, *get_args(hint)) if get_origin(part) is Answer), None)


class AnswerRoute(APIRoute):
    """A route whose answer is encoded in the thread of its endpoint, as far as who asks may see it.

    Raises UntypedText where viewers may ask it and the type of its answer does not say what they get.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, _encoding(endpoint), **options)


def _encoding(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    shape = answer_type(endpoint)
    if shape is None:
        return endpoint
    if need_of(endpoint).role is not Role.OWNER:
        view_of(shape)

    def response(answer: Any) -> Any:
        if not isinstance(answer, Answer):
            return answer
        is_written = isinstance(answer.content, bytes)
        return json_response(answer.content if is_written else encode(answer.content, shape))

    if iscoroutinefunction(endpoint):

        @wraps(endpoint)
        async def answered(*arguments: Any, **named: Any) -> Any:
            return response(await endpoint(*arguments, **named))

        return answered

    @wraps(endpoint)
    def answered_in_thread(*arguments: Any, **named: Any) -> Any:
        return response(endpoint(*arguments, **named))

    return answered_in_thread


def json_response(body: bytes, status_code: int = 200, headers: Any = None) -> Response:
    return Response(body, status_code, headers, media_type="application/json")


R = TypeVar("R")


def subset(record: type[R], shape: type[T]) -> Callable[[R], T]:
    """What takes of such a record the fields that an answer has: `line_count = subset(Offset, LineCount)`. Raises TypeError where the record lacks one."""
    names = tuple(shape.__annotations__)
    if lacking := {*names} - {*dir(record), *record.__annotations__}:
        raise TypeError(f"{record.__name__} lacks {lacking}")
    values = attrgetter(*names)
    return lambda given: dict(zip(names, values(given), strict=True))  # type: ignore[return-value]


def of_media(*media: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route whose answer may be none of JSON: `of_media("text/csv")`."""
    return {200: {"content": {each: {} for each in media}}}


class _Items:
    """Describes a numpy column to pydantic; nothing is checked."""

    def __init__(self, items: dict[str, Any]) -> None:
        self._items = items

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "array", "items": self._items}


_NUMBER, _NULL, _WORD = (
    {"type": "number"},
    {"type": "null"},
    {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
)
Column: TypeAlias = Annotated[NDArray[np.float64], _Items(_NUMBER)]
Gaps: TypeAlias = Annotated[NDArray[np.float64], _Items({"anyOf": [_NUMBER, _NULL]})]  # null for what is missing
Counts: TypeAlias = Annotated[NDArray[np.int64], _Items({"type": "integer"})]
Logged: TypeAlias = Annotated[NDArray[np.float64] | list[float | Public], _Items({"anyOf": [_NUMBER, _WORD]})]


def numbers(values: NDArray[np.float64]) -> NDArray[np.float64] | list[float | str]:
    """Values that were logged: non-finite ones travel as the strings "NaN", "Infinity", "-Infinity"."""
    if len(values) > FEW:
        return values if np.isfinite(values).all() else [number(value) for value in values.tolist()]
    listed: list[float | str] = values.tolist()
    return listed if all(map(math.isfinite, values.tolist())) else [number(value) for value in values.tolist()]


def number(value: float) -> float | Literal["NaN", "Infinity", "-Infinity"]:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


# Errors as answers: 400, 404, 405, 409 and 503 with `{"error": one sentence with the remedy}`.

Schema: TypeAlias = dict[str, Any]


class ErrorAnswer(TypedDict):
    """Any answer that is no success: one sentence, with the remedy."""

    error: Searched


class WrongFieldAnswer(ErrorAnswer):
    """`field` is the key of the value that is wrong; left out, or "", where it is not a single one."""

    field: NotRequired[str]


class OffsetAnswer(ErrorAnswer):
    """`size` is the file's: a writer goes on from there."""

    size: int


class OtherVersionAnswer(ErrorAnswer):
    """`version` is the board's, which somebody else has changed meanwhile."""

    version: Public


LIMITS = {
    "exclusiveMinimum": "greater than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
}
WHAT_IS_WRONG = {  # by pydantic's type of error; of all others the schema says what the value must be
    "missing": "is missing",
    "extra_forbidden": "is unknown here",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length:,} characters",
    "too_short": "must not be empty",
    "too_long": "must have at most {max_length:,} entries",
    "value_error": "is wrong: {error}",
}
BODY = "the request's body"
SENTENCES = {
    404: "no such route; /api/docs lists them",
    405: "this route does not take that method; /api/docs lists the routes",
}


def register(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _answering(500, _unexpected))
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(BadField, _wrong_field)
    app.add_exception_handler(BadRequest, _answering(400, str))
    app.add_exception_handler(NotGranted, _answering(403, str))
    app.add_exception_handler(NotFound, _answering(404, str))
    app.add_exception_handler(BadExpression, _answering(400, str))
    app.add_exception_handler(NoSuchTemplate, _answering(404, str))
    app.add_exception_handler(QueueError, _answering(400, str))
    app.add_exception_handler(OffsetConflict, _other_length)
    app.add_exception_handler(VersionConflict, _other_version)
    app.add_exception_handler(TooMuch, _answering(400, str))
    app.add_exception_handler(QueryAborted, _answering(503, str))
    app.add_exception_handler(NoDiagnosis, _answering(503, str))
    app.add_exception_handler(Unwritable, _answering(503, str))
    app.add_exception_handler(StoreError, _answering(503, str))


def refusal(sentence: str, status_code: int, headers: Any = None) -> Response:
    return json_response(encode({"error": sentence}, ErrorAnswer), status_code, headers)


def _answering(status: int, sentence: Callable[[Any], str]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_: Request, error: Exception) -> Response:
        return refusal(sentence(error), status)

    return answer


async def _refused(_: Request, error: Exception) -> Response:
    """Errors of the framework itself: a method that a route does not have, a body that cannot be read as JSON."""
    assert isinstance(error, HTTPException)
    unread = _unread(error.__cause__) if error.status_code == 400 and error.__cause__ else ""
    sentence = unread or SENTENCES.get(error.status_code, str(error.detail))
    return refusal(sentence, error.status_code, error.headers)


def _unread(cause: BaseException) -> str:
    """Why a body is no JSON that can be used, by what reading it raised."""
    match cause:
        case UnicodeDecodeError():
            return f"{BODY} is not UTF-8: send JSON in UTF-8"
        case RecursionError():
            return f"{BODY} is nested too deeply: send the JSON that /api/docs describes"
        case ValueError():
            return f"{BODY} has a whole number of more than {sys.get_int_max_str_digits():,} digits: send a smaller one"
    return f"{BODY} cannot be read: send JSON; /api/docs describes it"


async def _other_length(_: Request, error: Exception) -> Response:
    assert isinstance(error, OffsetConflict)
    return json_response(encode({"error": str(error), "size": error.size}, OffsetAnswer), 409)


async def _wrong_field(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadField)
    return json_response(encode({"error": str(error), "field": error.field}, WrongFieldAnswer), 400)


async def _other_version(_: Request, error: Exception) -> Response:
    assert isinstance(error, VersionConflict)
    return json_response(encode({"error": str(error), "version": error.version}, OtherVersionAnswer), 409)


def _unexpected(error: Exception) -> str:
    """It is raised further and logged with its traceback."""
    return f"the dashboard failed at this question ({type(error).__name__}); its output says where: please report it"


async def _wrong_parameter(request: Request, error: Exception) -> Response:
    """Says which parameter, or field of a body, and what it must be: `level must be a whole number from 0 to 50; ...`"""
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    kind, (where, *path), context = problems[0]["type"], problems[0]["loc"], problems[0].get("ctx") or {}
    if kind == "json_invalid":
        return _wrong(
            f"{BODY} is not JSON from character {int(path[0]) + 1:,} on: check its quotes, commas and brackets"
        )
    if where == "body" and not path and isinstance(error.body, bytes) and error.body:
        return _wrong(f"{BODY} must be JSON, sent with the header Content-Type: application/json")
    route = request.scope["route"]
    if where == "body":
        name, info = BODY, route.body_field.field_info
    else:
        name = str(path.pop(0))
        info = _parameter(route.dependant, name)
    name, schema = _step_into(_schema_of(info), path, name)
    if kind in ("missing", "extra_forbidden") and path:
        name = str(path[-1])
    alone = sum(one["loc"][:2] == problems[0]["loc"][:2] for one in problems) == 1 or kind in (
        "missing",
        "extra_forbidden",
    )
    said = (
        WHAT_IS_WRONG[kind].format_map(context)
        if alone and kind in WHAT_IS_WRONG
        else f"must be {_wanted(schema, is_odd=kind == 'string_unicode')}"
    )
    return _wrong(f"{name} {said}; /api/docs lists the parameters")


def _wrong(sentence: str) -> Response:
    return refusal(sentence, 400)


def _parameter(dependant: Dependant, name: str) -> FieldInfo | None:
    """A parameter of a route, or of what it depends on."""
    ours = (*dependant.query_params, *dependant.path_params, *dependant.header_params, *dependant.cookie_params)
    found = next((one.field_info for one in ours if one.alias == name), None)
    return found or next(filter(None, (_parameter(inner, name) for inner in dependant.dependencies)), None)


def _schema_of(info: FieldInfo | None) -> Schema:
    """The JSON Schema of what is asked for, its references replaced by what they stand for."""
    if info is None:
        return {}
    bounded: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    whole = TypeAdapter(bounded).json_schema()
    definitions = whole.pop("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            return (
                resolved(definitions[name])
                if name in definitions
                else {key: resolved(value) for key, value in part.items()}
            )
        return [resolved(value) for value in part] if isinstance(part, list) else part

    found: Schema = resolved(whole)
    return found


def _step_into(schema: Schema, path: Sequence[object], name: str) -> tuple[str, Schema]:
    """The name and the schema of the value that a place leads to. Of a union pydantic adds which branch it tried, as `literal['a']`: no such name is in the schema."""
    for part in path:
        for branch in _branches(schema):
            if isinstance(part, int) and "items" in branch:
                schema = branch["items"]
            elif isinstance(part, str) and part in branch.get("properties", {}):
                name, schema = part, branch["properties"][part]
            elif isinstance(part, str) and isinstance(branch.get("additionalProperties"), dict):
                name, schema = part, branch["additionalProperties"]
            else:
                continue
            break
    return name, schema


def _branches(schema: Schema) -> list[Schema]:
    """Of a union, each of its types, else the type itself; null is left out, as it stands for a value that is not given."""
    parts = schema.get("anyOf") or schema.get("oneOf")
    return [inner for part in parts for inner in _branches(part) if inner.get("type") != "null"] if parts else [schema]


def _wanted(schema: Schema, *, is_odd: bool) -> str:
    """`{"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["all"]}]} -> "a whole number at least 1 or 'all'"`

    `is_odd`: what was given is text with half a character in it.
    """
    words: list[str] = []
    for branch in _branches(schema):
        known = [branch["const"]] if "const" in branch else branch.get("enum")
        word = _type_of(branch)
        words += [f"{word} in UTF-8" if is_odd and word == "text" else word] if known is None else map(repr, known)
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last


def _type_of(schema: Schema) -> str:
    match schema.get("type"):
        case "integer":
            return f"a whole number{_range(schema)}"
        case "number":
            return f"a {'' if {'maximum', 'exclusiveMaximum'} & schema.keys() else 'finite '}number{_range(schema)}"
        case "boolean":
            return "true or false"
        case "string":
            return "text"
        case "array":
            return "a list"
        case "object":
            return "a JSON object"
    return "what /api/docs says"


def _range(schema: Schema) -> str:
    """`{"minimum": 0, "maximum": 50} -> " from 0 to 50"`"""
    limits = {key: f"{schema[key]:,}".removesuffix(".0") for key in LIMITS if key in schema}
    if limits.keys() >= {"minimum", "maximum"}:
        return f" from {limits['minimum']} to {limits['maximum']}"
    return " and".join(f" {LIMITS[key]} {limit}" for key, limit in limits.items())
