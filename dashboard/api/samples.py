"""Samples that runs logged: texts, images, audio, tables, histograms and their bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from typing_extensions import TypedDict

from access.roles import EXPORTS, Role, needs
from collectors.records import Sample, SampleKind, Searched
from collectors.store.store import SampleName, SampleQuery

from ..queries import NotFound, Queries
from ..samples import INLINE, PLAIN, UNKNOWN, Checkpoint, SampleContent
from ..viewing import bytes_for_viewer
from ..visitors import check_grant
from .answers import Answer, of_media, refusal
from .parameters import MAX_CHARACTERS, RunParameter

MAX_ROWS = 5_000
MAX_STEP = 2**53
HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox", "Cross-Origin-Resource-Policy": "same-origin"}
Step = Annotated[int | None, Query(ge=-MAX_STEP, le=MAX_STEP, description="inclusive")]


class SampleRow(TypedDict):
    id: int
    name: Searched
    kind: SampleKind
    step: int | None
    time_s: float | None
    rank: int
    bytes: int | None  # None where they were never counted
    path: Searched  # of the file in which they lie, "" for those that are stored here


class SampleList(TypedDict):
    """Without a name the first 5,000 `names`, and how many more there are; `left_out` are beyond the limits of the run and not stored. Else
    `samples` of that name."""

    names: list[SampleName]
    samples: list[SampleRow]
    more_names: int
    left_out: int


class CheckpointList(TypedDict):
    checkpoints: list[Checkpoint]


def add_routes(router: APIRouter, queries: Queries) -> None:
    @router.get("/samples", response_model=None, summary="Names of a run's samples, or the samples of a name by step")
    @needs(Role.VIEWER)
    def samples(
        run: RunParameter,
        name: Annotated[
            str | None, Query(max_length=MAX_CHARACTERS, description="without it, all names of the run")
        ] = None,
        from_step: Step = None,
        to_step: Step = None,
        limit: Annotated[int, Query(ge=1, le=MAX_ROWS, description="the last of those in the range")] = 500,
    ) -> Answer[SampleList]:
        if name is not None:
            rows = queries.samples(SampleQuery(run, name, from_step, to_step, limit=limit))
            return Answer({"names": [], "samples": [sample_row(each) for each in rows], "more_names": 0, "left_out": 0})
        found = queries.sample_names(run)
        return Answer({"names": found.names, "samples": [], "more_names": found.more, "left_out": found.left_out})

    @router.get(
        "/sample",
        response_model=None,
        response_class=Response,
        responses={**of_media(PLAIN, UNKNOWN, *INLINE), 204: {"description": "with `quiet`, in place of 404"}},
        summary="The bytes of a sample: an image, audio or plain text",
    )
    @needs(Role.VIEWER)
    def sample(
        run: RunParameter,
        id: Annotated[int, Query(ge=0, le=MAX_STEP, description="GET /samples lists them")],
        quiet: Annotated[bool, Query(description="204 in place of 404, which a browser would log")] = False,
    ) -> Response:
        try:
            found = queries.sample(run, id)
        except NotFound as error:
            if not quiet:
                raise
            return Response(status_code=204, headers={"X-Error": quote(bytes(refusal(str(error), 404).body))})
        if found.media == UNKNOWN:
            check_grant(EXPORTS)  # nothing is known of what it holds
        return sample_response(replace(found, data=bytes_for_viewer(found.data)) if found.media == PLAIN else found)

    @router.get("/checkpoints", response_model=None, summary="Checkpoints of a run: step, time and size of each")
    @needs(Role.VIEWER)
    def checkpoints(run: RunParameter) -> Answer[CheckpointList]:
        return Answer({"checkpoints": queries.checkpoints(run)})


def sample_row(sample: Sample) -> SampleRow:
    return {
        "id": sample.number,
        "name": sample.name,
        "kind": sample.kind,
        "step": sample.step,
        "time_s": sample.time_s,
        "rank": sample.rank,
        "bytes": sample.length,
        "path": sample.path,
    }


def sample_response(found: SampleContent) -> Response:
    """Whatever it is, it runs nothing and loads nothing, also where it is opened by itself."""
    how = "attachment" if found.media == UNKNOWN else "inline"
    headers = {
        **HEADERS,
        "Content-Disposition": f'{how}; filename="{found.file_name}"',
        "X-Total-Bytes": str(found.total_bytes),
    }
    if found.width:
        headers |= {"X-Width": str(found.width), "X-Height": str(found.height)}
    return Response(found.data, media_type=found.media, headers=headers)
