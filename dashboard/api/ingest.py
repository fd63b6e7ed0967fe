"""Runs of other hosts: their bytes, as they come."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from ..changes import Changes
from ..queries import BadRequest, Queries
from ..receiving.files import MOST_BYTES
from ..user_files.yaml_file import Unwritable
from .answer import Answer
from .parameters import MOST_CHARACTERS, MOST_CURSOR, RunInPath

AT_ONCE = 8  # requests whose bytes are held


class Taken(TypedDict):
    """`size`: the length of the file here, and the offset of what comes next."""

    size: int


class OtherSize(Taken):
    error: str


FileInPath = Annotated[str, Path(max_length=MOST_CHARACTERS, description="a file's name")]
Head = Annotated[
    str,
    Query(pattern="^[0-9a-f]{16}$|^$", description="by which the file is known again: of its first bytes, see docs/http-api.md"),
]
At = Annotated[int, Query(ge=0, le=MOST_CURSOR, description="where in the file the bytes belong")]


def add_changes(router: APIRouter, queries: Queries, changes: Changes) -> None:
    places = asyncio.Semaphore(AT_ONCE)

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
    async def ingest(run: RunInPath, file: FileInPath, offset: At, request: Request, head: Head = "") -> Answer[Taken]:
        if places.locked():
            raise Unwritable(f"{AT_ONCE} hosts are handing over at this moment; try again in a second")
        async with places:
            data = await body_of(request)
            return Answer({"size": await run_in_threadpool(changes.receive, run, file, offset, data, head)})


async def body_of(request: Request) -> bytes:
    """Raises BadRequest where it is longer than a request may be; the server cuts off what is longer still, or takes too long."""
    data = bytearray()
    async for part in request.stream():
        data += part
    if len(data) > MOST_BYTES:
        raise BadRequest(f"more than {MOST_BYTES >> 20} MiB in a request; send them in parts")
    return bytes(data)
