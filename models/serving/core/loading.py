"""Make a model ready before it gets a request: hashes, golden outputs in the runtime that will serve it, warm-up, its pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...artifact import Artifact, golden
from ...errors import BadArtifact
from ...runtimes.pick import AGREES, first_item
from ...runtimes.session import ModelSession
from .joining import RowLayout, repeated
from .pace import BatchPace
from .pending import TensorMap
from .text_codec import TextCodec
from .text_layout import TextLayout
from .version import LoadedSessions, ServingState

WARM_UP_S = 2.0  # of timing batches, at most; a model of more than this a call is timed once
TIMES = 3


@dataclass(frozen=True)
class ServingOptions:
    """`workers`: sessions that run side by side, each with `threads`. `most_rows`: of a batch, at most; the warm-up may choose less."""

    runtime: str = "onnxruntime"
    precision: str = ""  # the model's own
    threads: int = 1
    workers: int = 1
    most_rows: int = 32
    most_wait_s: float | None = None  # None: 50 ms, or three full batches where these take longer
    most_new_tokens: int = 256  # of a text model, where a request asks for more
    most_prompt_tokens: int = 1024
    prepare: Callable[[TensorMap], TensorMap] | None = None


def load(
    folder: Path, options: ServingOptions, stage: Callable[[ServingState], None] = lambda _: None
) -> LoadedSessions:
    """Takes seconds. Raises ModelsError: a damaged model, a missing runtime, outputs that are not the golden ones."""
    stage(ServingState.LOADING)
    artifact = Artifact.open(folder)
    recorded = artifact.golden()
    sessions = [artifact.session(options.runtime, options.precision, options.threads) for _ in range(options.workers)]
    stage(ServingState.WARMING)
    for session in sessions:
        _compare(artifact, recorded, session, options)
    specs = sessions[0].inputs, sessions[0].outputs
    is_text = TextLayout.fits(artifact.manifest.task, *specs)
    layout = TextLayout(*specs, options.most_prompt_tokens + options.most_new_tokens) if is_text else RowLayout(*specs)
    pace = BatchPace()
    item = first_item(recorded.inputs, artifact.manifest.inputs)
    _warm(sessions, item, pace, options.most_rows if layout.joins else 1)
    most_rows = pace.best_rows(options.most_rows) if layout.joins else 1
    text = TextCodec.of(artifact) if isinstance(layout, TextLayout) else None
    return LoadedSessions(artifact, sessions, layout, pace, most_rows, options.prepare, text)


def _compare(artifact: Artifact, recorded: golden.Golden, session: ModelSession, options: ServingOptions) -> None:
    name, share = golden.difference(recorded.outputs, session.run(recorded.inputs))
    own = options.runtime == "onnxruntime" and options.precision in ("", artifact.manifest.precision)
    allowed = artifact.manifest.tolerance if own else max(AGREES, artifact.manifest.tolerance)
    if share > allowed:
        raise BadArtifact(
            f"{artifact.folder}: output {name!r} of {options.runtime} differs by {share:.2g} of its largest value from the golden one, "
            f"and {allowed:g} is allowed; serve it with onnxruntime"
        )


def _warm(sessions: list[ModelSession], item: TensorMap, pace: BatchPace, most_rows: int) -> None:
    """Every size of batch in every session, the best of some calls: the first call allocates."""
    until_s = time.monotonic() + WARM_UP_S
    rows = 1
    while rows <= most_rows:
        inputs = repeated(item, rows) if most_rows > 1 else item
        spent_s = []
        for session in sessions:
            for _ in range(TIMES):
                begun_s = time.monotonic()
                session.run(inputs)
                spent_s.append(time.monotonic() - begun_s)
        pace.add(rows, min(spent_s))
        rows *= 2
        if time.monotonic() + 2 * sum(spent_s) > until_s:
            return
