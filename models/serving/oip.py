"""The Open Inference Protocol, version 2, over HTTP, with its binary form of tensors and the loading of its model repository."""

from __future__ import annotations

import time
from typing import Any

from ..errors import ModelsError
from .http import (
    DATATYPES,
    FaceRoute,
    HttpAnswer,
    ServingRequest,
    answered_by,
    array_of,
    as_json,
    as_raw,
    as_values,
    datatype_of,
    dtype_of,
    encoded,
    from_raw,
    shaped,
    table_of,
)
from .model import ServedModel, ServedVersion
from .queue import NEVER_S, ModelAnswer, RefusalKind, ServingRefusal, TensorMap, bad

HEADER_LENGTH = b"inference-header-content-length"
BINARY = b"application/octet-stream"
SERVER, EXTENSIONS = "deepseek-models", ["binary_tensor_data", "model_repository"]
MAX_TIMEOUT_US = 3_600_000_000
UNBUILT = ("classification", "shared_memory_region", "sequence_id")


async def live(request: ServingRequest) -> HttpAnswer:
    return HttpAnswer(as_json({"live": True}))


async def ready(request: ServingRequest) -> HttpAnswer:
    is_ready = request.models.is_ready
    return HttpAnswer(as_json({"ready": is_ready}), 200 if is_ready else 503)


async def model_ready(request: ServingRequest) -> HttpAnswer:
    model = request.models.named(request.call.part("model"))
    is_ready = model.is_ready and not request.models.closing
    if request.call.part("version"):
        model.version(request.call.part("version"))
    return HttpAnswer(as_json({"name": model.name, "ready": is_ready}), 200 if is_ready else 503)


async def server_metadata(request: ServingRequest) -> HttpAnswer:
    return HttpAnswer(as_json({"name": SERVER, "version": "1", "extensions": EXTENSIONS}))


async def model_metadata(request: ServingRequest) -> HttpAnswer:
    model = request.model(request.call.part("model"))
    return HttpAnswer(as_json(metadata(model, model.version(request.call.part("version")))))


def metadata(model: ServedModel, version: ServedVersion) -> dict[str, Any]:
    """Free dimensions are -1."""

    def rows(specs: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": spec.name,
                "datatype": DATATYPES.get(spec.dtype, spec.dtype.upper()),
                "shape": [size if isinstance(size, int) else -1 for size in spec.shape],
            }
            for spec in specs
        ]

    versions = [known.number for known in (model.previous, model.current) if known]
    platform = f"{model.options.runtime}_onnx"
    return {
        "name": model.name,
        "versions": versions,
        "platform": platform,
        "inputs": rows(version.layout.inputs),
        "outputs": rows(version.layout.outputs),
    }


async def index(request: ServingRequest) -> HttpAnswer:
    await request.call.body()
    return HttpAnswer(as_json(index_rows(request)))


def index_rows(request: ServingRequest) -> list[dict[str, str]]:
    """Of the models that the caller may ask."""
    models = [model for model in request.models if request.caller.models is None or model.name in request.caller.models]
    return [
        {
            "name": model.name,
            "version": model.current.number if model.current else "",
            "state": "READY" if model.is_ready else "UNAVAILABLE",
            "reason": model.trouble,
        }
        for model in models
    ]


async def load(request: ServingRequest) -> HttpAnswer:
    """The model's folder anew; what the body says is not taken: folders are named where the server is started."""
    await request.call.body()
    await load_model(request, request.call.part("model"))
    return HttpAnswer(b"{}")


async def load_model(request: ServingRequest, name: str) -> None:
    """Raises ServingRefusal with the reason; the version in use goes on then."""
    request.caller.check_manages()
    try:
        await request.model(name).load()
    except ModelsError as error:
        raise ServingRefusal(RefusalKind.CONFLICT, f"not loaded, and the version in use goes on: {error}") from None


async def unload(request: ServingRequest) -> HttpAnswer:
    raise not_unloaded()


def not_unloaded() -> ServingRefusal:
    return ServingRefusal(
        RefusalKind.NOT_BUILT, "models are not unloaded: stop the server, or leave the model out at its next start"
    )


async def infer(request: ServingRequest) -> HttpAnswer | None:
    model = request.model(request.call.part("model"))

    async def ask() -> HttpAnswer:
        return await _answer(request, model)

    return await answered_by(request, model, ask)


async def _answer(request: ServingRequest, model: ServedModel) -> HttpAnswer:
    call = request.call
    content = await call.body()
    table, raw = _parts(content, call.headers.get(HEADER_LENGTH))
    version = model.version(call.part("version"))
    inputs = _inputs(table, raw)
    parameters = parameters_of(table)
    names = _wanted(table, version)
    answer = await call.while_there(
        version.submit(inputs, call.arrived_s, deadline_of(call.arrived_s, parameters.get("timeout")))
    )
    answered_s = time.monotonic()
    is_binary = parameters.get("binary_data_output") is True
    found = await encoded(answer.outputs.values(), _encoded, model, answer, table, names, is_binary)
    now_s = time.monotonic()
    model.figures.answered(answer, now_s - answered_s, now_s - call.arrived_s)
    return found


def deadline_of(arrived_s: float, timeout_us: Any) -> float:
    """Microseconds, as Triton has them; 0 for none. Raises ServingRefusal."""
    if timeout_us is None or timeout_us == 0:
        return NEVER_S
    if type(timeout_us) is not int or not 0 < timeout_us <= MAX_TIMEOUT_US:
        raise bad(f"the parameter timeout is a whole number of microseconds up to {MAX_TIMEOUT_US}")
    return arrived_s + timeout_us / 1e6


def _parts(content: bytes, header_length: bytes | None) -> tuple[dict[str, Any], memoryview]:
    """JSON and the bytes behind it. Raises ServingRefusal."""
    if header_length is None:
        return table_of(content), memoryview(b"")
    if not header_length.isdigit() or len(header_length) > 12 or int(header_length) > len(content):
        raise bad("the header Inference-Header-Content-Length is not the length of the JSON in the body")
    length = int(header_length)
    return table_of(content[:length]), memoryview(content)[length:]


def _inputs(table: dict[str, Any], raw: memoryview) -> TensorMap:
    rows = table.get("inputs")
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("name"), str) for row in rows
    ):
        raise bad('"inputs" is a list of objects with name, shape, datatype and data')
    inputs: TensorMap = {}
    place = 0
    for row in rows:
        name = row["name"]
        if name in inputs:
            raise bad(f"input {name[:60]!r} is there twice")
        parameters = parameters_of(row)
        size = parameters.get("binary_data_size")
        if size is None:
            if "data" not in row:
                raise bad(f"input {name[:60]!r} has no data")
            inputs[name] = shaped(
                array_of(row["data"], dtype_of(row.get("datatype"), name), name), row.get("shape"), name
            )
            continue
        if type(size) is not int or size < 0 or place + size > len(raw):
            raise bad(f"input {name[:60]!r} has a binary_data_size that the body does not have")
        inputs[name] = from_raw(raw[place : place + size], row.get("datatype"), row.get("shape"), name)
        place += size
    if place != len(raw):
        raise bad(f"the body has {len(raw) - place} bytes behind the last input")
    return inputs


def parameters_of(row: dict[str, Any]) -> dict[str, Any]:
    """Raises ServingRefusal for what is no table, and for what this server does not have."""
    found = row.get("parameters", {})
    if not isinstance(found, dict):
        raise bad('"parameters" is an object')
    for name in UNBUILT:
        if found.get(name):
            raise bad(f"the parameter {name} is not supported; leave it out")
    return found


def _wanted(table: dict[str, Any], version: ServedVersion) -> list[tuple[str, bool | None]]:
    """Names of outputs, and whether each is to be binary (None: as the request says). Raises ServingRefusal."""
    rows = table.get("outputs")
    known = [spec.name for spec in version.layout.outputs]
    if rows is None or rows == []:
        return [(name, None) for name in known]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise bad('"outputs" is a list of objects with a name')
    found = []
    for row in rows:
        if row.get("name") not in known:
            raise bad(f"there is no output {str(row.get('name'))[:60]!r}; there are {', '.join(known)}")
        binary = parameters_of(row).get("binary_data")
        found.append((row["name"], binary if isinstance(binary, bool) else None))
    check_once([name for name, _ in found])
    return found


def check_once(names: list[str]) -> None:
    """Raises ServingRefusal for an output that is asked for twice: its bytes would be, too."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise bad(f"output {name[:60]!r} is asked for twice")
        seen.add(name)


def _encoded(
    model: ServedModel,
    answer: ModelAnswer,
    table: dict[str, Any],
    names: list[tuple[str, bool | None]],
    all_binary: bool,
) -> HttpAnswer:
    rows, raws = [], []
    for name, binary in names:
        value = answer.outputs[name]
        row: dict[str, Any] = {"name": name, "datatype": datatype_of(value), "shape": list(value.shape)}
        if all_binary if binary is None else binary:
            raws.append(as_raw(value))
            row["parameters"] = {"binary_data_size": len(raws[-1])}
        else:
            row["data"] = as_values(value.reshape(-1))
        rows.append(row)
    head: dict[str, Any] = {"model_name": model.name, "model_version": answer.version, "outputs": rows}
    if isinstance(table.get("id"), str):
        head["id"] = table["id"]
    content = as_json(head)
    if not raws:
        return HttpAnswer(content)
    return HttpAnswer(b"".join([content, *raws]), content_type=BINARY, headers=((HEADER_LENGTH, b"%d" % len(content)),))


def _rows() -> tuple[FaceRoute, ...]:
    found = [
        FaceRoute("GET", "/v2/health/live", live, is_open=True),
        FaceRoute("GET", "/v2/health/ready", ready, is_open=True),
        FaceRoute("GET", "/v2", server_metadata, is_open=True),
        FaceRoute("POST", "/v2/repository/index", index),
        FaceRoute("POST", "/v2/repository/models/{model:path}/load", load),
        FaceRoute("POST", "/v2/repository/models/{model:path}/unload", unload),
    ]
    for path in ("/v2/models/{model:path}/versions/{version}", "/v2/models/{model:path}"):
        found += [
            FaceRoute("POST", f"{path}/infer", infer, counts=True),
            FaceRoute("GET", f"{path}/ready", model_ready, is_open=True),
            FaceRoute("GET", path, model_metadata),
        ]
    return tuple(found)


ROUTES = _rows()
