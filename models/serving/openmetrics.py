"""`GET /metrics`: what each model did, in the OpenMetrics text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .http import FaceRoute, HttpAnswer, ServingRequest
from .model import ServedModel
from .queue import BOUNDS_S

CONTENT_TYPE = b"application/openmetrics-text; version=1.0.0; charset=utf-8"
GAUGES: tuple[tuple[str, str, Callable[[ServedModel], float]], ...] = (
    ("ready", "1 where the model answers", lambda model: float(model.is_ready)),
    ("queue_requests", "Requests that wait", lambda model: float(len(model.current.queue)) if model.current else 0.0),
    (
        "queue_bytes",
        "Bytes of requests that wait",
        lambda model: float(model.current.queue.bytes) if model.current else 0.0,
    ),
    (
        "predicted_wait_seconds",
        "That a new request would have",
        lambda model: model.current.wait_s() if model.current else 0.0,
    ),
    (
        "most_batch_rows",
        "Of a batch, at most",
        lambda model: float(model.current.queue.most_rows) if model.current else 0.0,
    ),
)
PREFIX = "deepseek_serving"


async def metrics(request: ServingRequest) -> HttpAnswer:
    models = [model for model in request.models if request.caller.models is None or model.name in request.caller.models]
    return HttpAnswer(("\n".join(lines(models)) + "\n").encode(), content_type=CONTENT_TYPE)


def lines(models: list[ServedModel]) -> Iterator[str]:
    for name, text, value in GAUGES:
        yield from _head(name, "gauge", text)
        for model in models:
            yield f'{PREFIX}_{name}{{model="{model.name}"}} {value(model):g}'
    yield from _head("requests", "counter", "By outcome: ok, or why there was no answer")
    for model in models:
        for outcome, number in sorted(model.figures.outcomes.items()):
            yield f'{PREFIX}_requests_total{{model="{model.name}",outcome="{outcome}"}} {number}'
    yield from _head("latency_seconds", "histogram", "From a request's arrival to its encoded answer", "seconds")
    for model in models:
        figures, below = model.figures, 0
        for bound_s, number in zip((*map(str, BOUNDS_S), "+Inf"), figures.buckets, strict=True):
            below += number
            yield f'{PREFIX}_latency_seconds_bucket{{model="{model.name}",le="{bound_s}"}} {below}'
        yield f'{PREFIX}_latency_seconds_sum{{model="{model.name}"}} {figures.latency_s:.6f}'
        yield f'{PREFIX}_latency_seconds_count{{model="{model.name}"}} {below}'
    yield from _head("phase_seconds", "counter", "Of answered requests, by phase", "seconds")
    for model in models:
        for phase, seconds in model.figures.phases_s.items():
            yield f'{PREFIX}_phase_seconds_total{{model="{model.name}",phase="{phase}"}} {seconds:.6f}'
    for name, text, count in (
        ("batches", "Calls of the model", "batches"),
        ("batch_rows", "Rows of all batches", "rows"),
    ):
        yield from _head(name, "counter", text)
        for model in models:
            yield f'{PREFIX}_{name}_total{{model="{model.name}"}} {getattr(model.figures, count)}'
    yield "# EOF"


def _head(name: str, kind: str, text: str, unit: str = "") -> Iterator[str]:
    yield f"# TYPE {PREFIX}_{name} {kind}"
    if unit:
        yield f"# UNIT {PREFIX}_{name} {unit}"
    yield f"# HELP {PREFIX}_{name} {text}."


ROUTES = (FaceRoute("GET", "/metrics", metrics),)
