"""Runs of other hosts: their bytes, as they come."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from typing_extensions import TypedDict

from access.files import Unwritable
from access.roles import Role, needs

from ..mutations import WRITER, Changes
from ..queries import BadRequest, Queries
from ..received_files import MAX_BYTES
from ..visitors import NotGranted, visitor
from .answers import Answer
from .parameters import MAX_CHARACTERS, MAX_CURSOR, RunInPath

MAX_HELD_BYTES = 8 * MAX_BYTES  # of all requests that are being read, or whose bytes wait for the disk


class Taken(TypedDict):
    """`size`: the length of the file here, and the offset of what comes next."""

    size: int


class OtherSize(Taken):
    error: str


FileInPath = Annotated[str, Path(max_length=MAX_CHARACTERS, description="a file's name")]
Head = Annotated[
    str,
    Query(
        pattern="^[0-9a-f]{16}$|^$",
        description="by which the file is known again: of its first bytes, see docs/http-api.md",
    ),
]
At = Annotated[int, Query(ge=0, le=MAX_CURSOR, description="where in the file the bytes belong")]


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    held = _Held()

    @router.post(
        "/ingest/{run:path}/{file}",
        response_model=None,
        summary="Append to a file of another host's run",
        responses={409: {"model": OtherSize, "description": "the file has another length here"}},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    @needs(Role.WRITER)
    async def ingest(run: RunInPath, file: FileInPath, offset: At, request: Request, head: Head = "") -> Answer[Taken]:
        writer = writer_of(run)
        with held.bytes_of() as body:
            async for part in _parts_of(request):
                body.add(part)
            return Answer(
                {"size": await run_in_threadpool(changes.receive, run, file, offset, bytes(body.data), head, writer)}
            )


def writer_of(run: str) -> str:
    """In whose folder the run lies: that of the token's name, or "local" without one. Raises NotGranted outside of the token's prefix."""
    asking = visitor()
    if asking.role is not Role.WRITER:
        return WRITER
    if not run.startswith(asking.prefix):
        raise NotGranted(
            f"the token {asking.name!r} may write runs whose names begin with {asking.prefix!r}, not {run!r}"
        )
    return asking.name


class _Held:
    """The bytes of all bodies together. A client that sends slowly holds little, and delays no other."""

    def __init__(self) -> None:
        self.bytes = 0

    @contextmanager
    def bytes_of(self) -> Iterator[_Body]:
        body = _Body(self)
        try:
            yield body
        finally:
            self.bytes -= len(body.data)


class _Body:
    def __init__(self, held: _Held) -> None:
        self._held = held
        self.data = bytearray()

    def add(self, part: bytes) -> None:
        """Raises BadRequest where it is longer than a request may be, Unwritable where all of them together are."""
        if len(self.data) + len(part) > MAX_BYTES:
            raise BadRequest(f"more than {MAX_BYTES >> 20} MiB in a request; send them in parts")
        if self._held.bytes + len(part) > MAX_HELD_BYTES:
            raise Unwritable("many hosts are handing over at this moment; try again in a second")
        self._held.bytes += len(part)
        self.data += part


async def _parts_of(request: Request) -> AsyncIterator[bytes]:
    """Raises BadRequest where the client leaves before the end; the server cuts off what is too long, or takes too long."""
    try:
        async for part in request.stream():
            yield part
    except ClientDisconnect:
        raise BadRequest("the request ended before its bytes did") from None
