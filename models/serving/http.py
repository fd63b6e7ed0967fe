"""HTTP of the model server: calls, routes and tensors."""

from __future__ import annotations

import asyncio
import math
import struct
import time
from asyncio import Future
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import orjson

from .access import ModelCaller
from .model import ServedModel, ServedModels
from .queue import RefusalKind, ServingRefusal, bad

if TYPE_CHECKING:
    import numpy as np

    AnyArray = np.ndarray[Any, Any]


# A request over HTTP: its body, its answer, and whether its client is still there. Its limits are those of `access.http` and `access.bodies`.

T = TypeVar("T")
AsgiMessage: TypeAlias = MutableMapping[str, Any]
AsgiReceive: TypeAlias = Callable[[], Awaitable[AsgiMessage]]
AsgiSend: TypeAlias = Callable[[AsgiMessage], Awaitable[None]]

MAX_BODY_BYTES = 64 << 20
MAX_JSON_BYTES = 8 << 20  # it is read in one go, about 10 ms a MiB, in which nothing else is answered
SEND_S = 30.0  # in which a client must read something
PATIENCE_S = 0.01  # a request that takes longer watches its client
JSON = b"application/json"


class ClientGone(Exception):
    """It has closed its connection, or does not read."""


class HttpAnswer(NamedTuple):
    content: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


class HttpCall:
    """One request; for the event loop."""

    __slots__ = ("_future", "_receive", "_send", "_watcher", "arrived_s", "begun", "gone", "headers", "scope")

    def __init__(self, scope: Mapping[str, Any], receive: AsgiReceive, send: AsgiSend) -> None:
        self.scope, self._receive, self._send = scope, receive, send
        self.arrived_s = time.monotonic()
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.begun = False  # its answer
        self.gone = False  # known only while it is watched
        self._watcher: asyncio.Task[None] | None = None
        self._future: Future[Any] | None = None

    def header(self, name: bytes) -> str:
        return self.headers.get(name, b"").decode("latin-1")

    def part(self, name: str) -> str:
        """Of the path, "" where it has none."""
        return str(self.scope["path_params"].get(name, ""))

    async def body(self) -> bytes:
        """Raises ServingRefusal for one that is compressed, ClientGone for one that does not come to its end or is refused."""
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise bad("the body is compressed, which this server does not read; send it without Content-Encoding")
        message = await self._message()
        if not message.get("more_body"):
            return bytes(message.get("body", b""))
        parts = bytearray(message["body"])
        while message.get("more_body"):
            message = await self._message()
            parts += message.get("body", b"")
        return bytes(parts)

    async def json(self) -> Any:
        """Raises ServingRefusal."""
        return json_of(await self.body())

    async def table(self) -> dict[str, Any]:
        """Raises ServingRefusal for a body that is no JSON object."""
        return table_of(await self.body())

    async def while_there(self, future: Future[T]) -> T:
        """Its result; a client that goes away cancels it. Raises ClientGone, and what the future raises."""
        if future.done():
            return future.result()
        self._future = future
        if self.gone:
            future.cancel()
        handle = None if self._watcher else asyncio.get_running_loop().call_later(PATIENCE_S, self.watch)
        try:
            return await future
        except asyncio.CancelledError:
            if self.gone:
                raise ClientGone from None
            raise
        finally:
            if handle:
                handle.cancel()

    def watch(self) -> None:
        """From now on `gone` is right; after the body was read."""
        if not self._watcher:
            self._watcher = asyncio.get_running_loop().create_task(self._until_gone())

    def close(self) -> None:
        if self._watcher:
            self._watcher.cancel()

    async def answer(self, answer: HttpAnswer) -> None:
        headers = [
            (b"content-type", answer.content_type),
            (b"content-length", b"%d" % len(answer.content)),
            *answer.headers,
        ]
        self.begun = True
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": answer.content})

    async def stream(self, content_type: bytes, parts: AsyncIterator[bytes]) -> None:
        """Raises ClientGone, and what the parts raise."""
        self.begun = True
        headers = [(b"content-type", content_type), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        async for part in parts:
            if self.gone:
                raise ClientGone
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._future:
            self._future.cancel()

    async def _message(self) -> AsgiMessage:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message


def json_of(content: bytes) -> Any:
    """Raises ServingRefusal."""
    if len(content) > MAX_JSON_BYTES:
        why = f"the JSON is longer than {MAX_JSON_BYTES >> 20} MiB; send large tensors in the protocol's binary form, or over gRPC"
        raise ServingRefusal(RefusalKind.LARGE, why)
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise bad(f'the body is not JSON ({error}); send an object such as {{"input": [1, 2]}}') from None


def table_of(content: bytes) -> dict[str, Any]:
    """Raises ServingRefusal."""
    found = json_of(content)
    if not isinstance(found, dict):
        raise bad('the body is not a JSON object; send one such as {"input": [1, 2]}')
    return found


def as_json(value: object) -> bytes:
    """Of plain values and numpy arrays; NaN and infinities become null, as JSON has none."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def sentence(refusal: ServingRefusal) -> HttpAnswer:
    """`{"error": "one sentence"}`"""
    headers = [(name.encode(), value.encode()) for name, value in refusal.retry_after.items()]
    if refusal.kind is RefusalKind.NO_TOKEN:
        headers.append((b"www-authenticate", b"Bearer"))
    return HttpAnswer(as_json({"error": readable(str(refusal))}), refusal.kind.http, headers=tuple(headers))


def readable(text: str) -> str:
    """Without halves of characters, which no encoder takes."""
    return text.encode("utf-8", "replace").decode()


# A route of a face: path, handler, what a caller needs, how its protocol words a refusal.


class ServingRequest:
    """What a handler needs: the call, who makes it, the models."""

    __slots__ = ("call", "caller", "models")

    def __init__(self, call: HttpCall, caller: ModelCaller, models: ServedModels) -> None:
        self.call, self.caller, self.models = call, caller, models

    def model(self, name: str) -> ServedModel:
        """Raises ServingRefusal for one that is not there or not for this caller."""
        self.caller.check(name)
        return self.models.named(name)


ServingHandler: TypeAlias = Callable[[ServingRequest], Awaitable[HttpAnswer | None]]  # None: it has answered by itself


class FaceRoute(NamedTuple):
    """`is_open`: without a token. `counts`: asks a model, so that rates and overload refuse it."""

    method: str
    path: str
    handler: ServingHandler
    is_open: bool = False
    counts: bool = False
    failing: Callable[[ServingRefusal], HttpAnswer] = sentence


async def answered_by(
    request: ServingRequest, model: ServedModel, ask: Callable[[], Awaitable[HttpAnswer | None]]
) -> HttpAnswer | None:
    """Counts what a model refuses, also the clients that are gone."""
    try:
        return await ask()
    except ServingRefusal as refusal:
        model.figures.refused(refusal.kind)
        raise
    except ClientGone:
        model.figures.refused(RefusalKind.GONE)
        raise


# Values of JSON and bytes as arrays of a model's types, and back; the words of the Open Inference Protocol for types.

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "str": "BYTES",
}  # by numpy's word
DTYPES_OF = {word: dtype for dtype, word in DATATYPES.items()}
FITS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}  # kinds of JSON values that a kind of type takes
HALF = "e"  # numpy's letter of float16, which the encoder does not know
SLICE_VALUES = 16_384  # are encoded in about 3 ms
MAX_RANK = 32  # of numpy 1; more is no model's
SHOWN = 60


def array_of(value: Any, dtype: str, name: str) -> AnyArray:
    """Of lists of numbers or texts, as JSON has them. Raises ServingRefusal with the input's name."""
    import numpy as np

    if dtype == "str":
        return _texts(value, name)
    try:
        found = np.array(value)
    except (ValueError, TypeError, OverflowError):
        raise bad(f"input {name!r} has rows of different lengths") from None
    if not found.size:
        return found.astype(dtype)
    wanted = np.dtype(dtype)
    if found.dtype.kind not in FITS.get(wanted.kind, ""):
        raise bad(f"input {name!r} has values that are no {dtype} numbers")
    if wanted.kind in "iu":
        limits = np.iinfo(wanted)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise bad(f"input {name!r} has values beyond {limits.min} to {limits.max} of {dtype}")
    try:
        with np.errstate(over="raise"):
            return found.astype(wanted, copy=False)
    except FloatingPointError:
        raise bad(f"input {name!r} has values beyond {np.finfo(wanted).max:g} of {dtype}") from None


def shaped(found: AnyArray, shape: Any, name: str) -> AnyArray:
    """Raises ServingRefusal where the values do not fill the shape."""
    sizes = shape_of(shape, name)
    if math.prod(sizes) != found.size:
        raise bad(f"input {name!r} has {found.size} values, and the shape {list(sizes)} takes {math.prod(sizes)}")
    return found.reshape(sizes)


def shape_of(shape: Any, name: str) -> tuple[int, ...]:
    """Raises ServingRefusal."""
    if (
        not isinstance(shape, (list, tuple))
        or not all(type(size) is int and 0 <= size < 1 << 40 for size in shape)
        or len(shape) > MAX_RANK
    ):
        raise bad(f"input {name!r} has no shape such as [1, 3]")
    return tuple(shape)


def from_raw(content: bytes | memoryview, datatype: str, shape: Any, name: str) -> AnyArray:
    """Of little-endian values, as the protocol's binary form has them. Raises ServingRefusal."""
    import numpy as np

    dtype = dtype_of(datatype, name)
    if dtype == "str":
        return shaped(np.array(_unpacked(bytes(content), name), object), shape, name)
    item, sizes = _item(dtype), shape_of(shape, name)
    if len(content) != (wanted := item.own.itemsize * math.prod(sizes)):
        raise bad(f"input {name!r} has {len(content)} bytes, and {datatype} {list(shape)} takes {wanted}")
    return np.frombuffer(content, item.little).astype(item.own, copy=False).reshape(sizes)


class _Item(NamedTuple):
    """A type in this machine's order of bytes, and in the protocol's."""

    own: np.dtype[Any]
    little: np.dtype[Any]


@cache
def _item(dtype: str) -> _Item:
    import numpy as np

    return _Item(np.dtype(dtype), np.dtype(dtype).newbyteorder("<"))


def as_raw(value: AnyArray) -> bytes:
    """The protocol's binary form."""
    if value.dtype.kind in "OUS":
        return b"".join(struct.pack("<I", len(part)) + part for part in (_bytes(item) for item in value.reshape(-1)))
    return value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


def dtype_of(datatype: Any, name: str) -> str:
    """Raises ServingRefusal."""
    found = DTYPES_OF.get(datatype) if isinstance(datatype, str) else None
    if found is None:
        raise bad(f"input {name!r} has the datatype {str(datatype)[:SHOWN]!r}; there are {', '.join(DTYPES_OF)}")
    return found


def datatype_of(value: AnyArray) -> str:
    return _datatype_of(value.dtype)


@lru_cache(256)
def _datatype_of(dtype: np.dtype[Any]) -> str:
    return "BYTES" if dtype.kind in "OUS" else DATATYPES[dtype.name]


async def encoded(values: Iterable[AnyArray], encode: Callable[..., T], *arguments: Any) -> T:
    """What `encode` makes of large values, in a thread: the event loop is not kept waiting, since `as_values` encodes in slices."""
    if sum(value.size for value in values) > SLICE_VALUES:
        return await asyncio.to_thread(encode, *arguments)
    return encode(*arguments)


def as_values(value: AnyArray) -> Any:
    """For JSON: lists of numbers, or of texts. A large array is encoded in slices: other threads wait for each."""
    if value.size <= SLICE_VALUES or value.ndim == 0:
        return _as_slice(value)
    row_values = value.size // len(value)
    if row_values > SLICE_VALUES:
        parts = [as_json(as_values(row)) for row in value]
    else:
        step = SLICE_VALUES // row_values
        parts = [as_json(_as_slice(value[at : at + step]))[1:-1] for at in range(0, len(value), step)]
    return orjson.Fragment(b"[" + b",".join(parts) + b"]")


def _as_slice(value: AnyArray) -> Any:
    if value.dtype.kind in "OUS":
        return (
            [_bytes(item).decode("utf-8", "replace") for item in value.reshape(-1)]
            if value.ndim == 1
            else value.astype(str).tolist()
        )
    if value.dtype.char == HALF:
        return value.astype("float32").tolist()
    return value if value.flags.c_contiguous else value.tolist()


def _texts(value: Any, name: str) -> AnyArray:
    import numpy as np

    found = np.array(value, object)
    if not all(isinstance(item, str) for item in found.reshape(-1)):
        raise bad(f"input {name!r} has values that are no text")
    return found


def _unpacked(content: bytes, name: str) -> list[str]:
    items, place = [], 0
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "little")
        place += 4 + length
        if place > len(content):
            raise bad(f"input {name!r} is cut within a text")
        items.append(_text(content[place - length : place], name))
    return items


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise bad(f"input {name!r} has a text that is not UTF-8") from None


def texts_of(values: list[bytes], name: str) -> AnyArray:
    """Raises ServingRefusal."""
    import numpy as np

    return np.array([_text(value, name) for value in values], object)


def _bytes(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode("utf-8", "replace")
