"""Errors as answers: 400, 404, 405, 409 and 503 with `{"error": one sentence with the remedy}`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, get_args

from fastapi import FastAPI, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic.fields import FieldInfo
from starlette.exceptions import HTTPException

from collectors.store.protocol import StoreError
from collectors.store.question import Ended, TooMuch
from jobs.errors import QueueError

from ..auth.visitor import NotGranted
from ..boards.files import OtherVersion
from ..commands.doctor.asked import NoDiagnosis
from ..log_lines.lines import NoSuchTemplate
from ..log_lines.needle import BadExpression
from ..queries import BadRequest, NotFound
from ..receiving.files import OtherLength
from ..user_files.yaml_file import Unwritable
from .answer import Answer

LIMITS = {"gt": "greater than", "ge": "at least", "lt": "less than", "le": "at most"}
WHAT_IT_MUST_BE = {  # by pydantic's type of error; a number's limits are added
    "missing": "is missing",
    "extra_forbidden": "is unknown here",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), "must be a whole number"),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), "must be a finite number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "must be true or false"),
    **dict.fromkeys(("greater_than", "greater_than_equal", "less_than", "less_than_equal"), "must be"),
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "string_too_short": "must have at least {min_length:,} characters",
    "string_too_long": "must have at most {max_length:,} characters",
    "list_type": "must be a list",
    "too_short": "must have at least {min_length:,} entries",
    "too_long": "must have at most {max_length:,} entries",
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "must be a JSON object"),
    "json_invalid": "is not JSON ({error})",
    "value_error": "is wrong: {error}",
}
SENTENCES = {404: "no such route; /api/docs lists them", 405: "this route does not take that method; /api/docs lists the routes"}


def register(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _answering(500, _unexpected))
    app.add_exception_handler(RequestValidationError, _wrong_parameter)
    app.add_exception_handler(BadRequest, _answering(400, str))
    app.add_exception_handler(NotGranted, _answering(403, str))
    app.add_exception_handler(NotFound, _answering(404, str))
    app.add_exception_handler(BadExpression, _answering(400, str))
    app.add_exception_handler(NoSuchTemplate, _answering(404, str))
    app.add_exception_handler(QueueError, _answering(400, str))
    app.add_exception_handler(OtherLength, _other_length)
    app.add_exception_handler(OtherVersion, _other_version)
    app.add_exception_handler(TooMuch, _answering(400, str))
    app.add_exception_handler(Ended, _answering(503, str))
    app.add_exception_handler(NoDiagnosis, _answering(503, str))
    app.add_exception_handler(Unwritable, _answering(503, str))
    app.add_exception_handler(StoreError, _answering(503, str))


def _answering(status: int, sentence: Callable[[Any], str]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(_: Request, error: Exception) -> Response:
        return Answer({"error": sentence(error)}, status_code=status)

    return answer


async def _refused(_: Request, error: Exception) -> Response:
    """Errors of the framework itself: a method that a route does not have."""
    assert isinstance(error, HTTPException)
    sentence = SENTENCES.get(error.status_code, str(error.detail))
    return Answer({"error": sentence}, status_code=error.status_code, headers=error.headers)


async def _other_length(_: Request, error: Exception) -> Response:
    assert isinstance(error, OtherLength)
    return Answer({"error": str(error), "size": error.size}, status_code=409)


async def _other_version(_: Request, error: Exception) -> Response:
    assert isinstance(error, OtherVersion)
    return Answer({"error": str(error), "version": error.version}, status_code=409)


def _unexpected(error: Exception) -> str:
    """It is raised further and logged with its traceback."""
    return f"the dashboard failed at this question ({type(error).__name__}); its output says where: please report it"


async def _wrong_parameter(request: Request, error: Exception) -> Response:
    """Says which parameter, or field of a body, and what it must be: `level must be a whole number from 0 to 50; ...`"""
    assert isinstance(error, RequestValidationError)
    problem = error.errors()[0]
    place, kind = problem["loc"], problem["type"]
    name = next((part for part in reversed(place) if isinstance(part, str)), "request")  # a number: a place in a list
    if kind == "json_invalid" or name == "body":
        name = "the request's body"
    limits, is_whole = problem.get("ctx") or {}, False
    if place[0] in ("query", "path") and (field := _field(request.scope["route"].dependant, name)) is not None:
        is_whole = int in (field.annotation, *get_args(field.annotation))
        limits = {key: getattr(one, key) for one in field.metadata for key in LIMITS if hasattr(one, key)} | limits
    said = WHAT_IT_MUST_BE.get(kind, "is wrong").format_map(limits)
    if said == "must be":
        said = f"must be a {'whole ' if is_whole else ''}number"
    said += _range(limits) if said.endswith("number") else ""
    return Answer({"error": f"{name} {said}; /api/docs lists the parameters"}, status_code=400)


def _field(dependant: Dependant, name: str) -> FieldInfo | None:
    """A parameter of a route, or of what it depends on."""
    found = next((one for one in [*dependant.query_params, *dependant.path_params] if one.alias == name), None)
    if found is not None:
        return found.field_info
    return next(filter(None, (_field(inner, name) for inner in dependant.dependencies)), None)


def _range(limits: Mapping[str, Any]) -> str:
    """`{"ge": 0, "le": 50} -> " from 0 to 50"`"""
    if limits.keys() >= {"ge", "le"}:
        return f" from {limits['ge']:,} to {limits['le']:,}"
    return " and".join(f" {LIMITS[key]} {limits[key]:,}" for key in LIMITS if key in limits)
