"""Errors as answers: 400, 404, 405, 409 and 503 with `{"error": one sentence with the remedy}`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
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

SENTENCES = {404: "no such route; /api/docs lists them", 405: "this route does not take that method; /api/docs lists the routes"}


def register(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _answering(500, _unexpected))
    app.add_exception_handler(RequestValidationError, _answering(400, _first_problem))
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


def _first_problem(error: RequestValidationError) -> str:
    problem = error.errors()[0]
    name = next((part for part in reversed(problem["loc"]) if isinstance(part, str)), "request")  # a number: a place in a list
    return f"{name}: {problem['msg']}; /api/docs lists the parameters"
