"""The Open Inference Protocol over gRPC."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ..errors import ModelsError, needed
from .access import ModelCaller, ServingAuth
from .generation import TextSampling, generate, prompt_ids
from .http import MAX_BODY_BYTES, SEND_S, array_of, as_raw, datatype_of, dtype_of, from_raw, shaped, texts_of
from .model import ServedModel, ServedModels, ServedVersion
from .oip import EXTENSIONS, SERVER, UNBUILT, check_once, deadline_of, metadata, not_unloaded
from .queue import NEVER_S, ModelAnswer, RefusalKind, ServingRefusal, TensorMap, bad, stopping

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
PROMPT, TEXT = "prompt", "text"  # input and output of a text model in a stream
FINAL = "triton_final_response"


class OipMessages:
    """`pb`: the module with the messages."""

    def __init__(self, pb: Any) -> None:
        self._pb = pb

    def server_metadata(self) -> Any:
        return self._pb.ServerMetadataResponse(
            name=SERVER, version="1", extensions=[word for word in EXTENSIONS if word != "binary_tensor_data"]
        )

    def model_metadata(self, model: ServedModel, version: ServedVersion) -> Any:
        return self._pb.ModelMetadataResponse(**metadata(model, version))

    def index(self, models: list[ServedModel]) -> Any:
        rows = [
            self._pb.RepositoryIndexResponse.ModelIndex(
                name=model.name,
                version=model.current.number if model.current else "",
                state="READY" if model.is_ready else "UNAVAILABLE",
                reason=model.trouble,
            )
            for model in models
        ]
        return self._pb.RepositoryIndexResponse(models=rows)

    def inputs(self, message: Any) -> TensorMap:
        """Raises ServingRefusal."""
        raws = message.raw_input_contents
        if raws and len(raws) != len(message.inputs):
            raise bad(f"there are {len(message.inputs)} inputs and {len(raws)} raw_input_contents; give one for each")
        inputs: TensorMap = {}
        for place, row in enumerate(message.inputs):
            if row.name in inputs:
                raise bad(f"input {row.name[:60]!r} is there twice")
            if row.parameters:
                self._check(row.parameters)
            shape = list(row.shape)
            if raws:
                inputs[row.name] = from_raw(raws[place], row.datatype, shape, row.name)
            else:
                inputs[row.name] = shaped(_contents(row), shape, row.name)
        return inputs

    def deadline_of(self, message: Any, arrived_s: float, remaining_s: float | None) -> float:
        """Of the call, and of the parameter `timeout` in microseconds. Raises ServingRefusal."""
        found = NEVER_S
        if message.parameters:
            self._check(message.parameters)
            found = deadline_of(
                arrived_s, _value(message.parameters["timeout"]) if "timeout" in message.parameters else None
            )
        return found if remaining_s is None else min(found, arrived_s + remaining_s)

    def wanted(self, message: Any, version: ServedVersion) -> list[str]:
        """Raises ServingRefusal."""
        known = [spec.name for spec in version.layout.outputs]
        if not message.outputs:
            return known
        for row in message.outputs:
            self._check(row.parameters)
            if row.name not in known:
                raise bad(f"there is no output {row.name[:60]!r}; there are {', '.join(known)}")
        names = [row.name for row in message.outputs]
        check_once(names)
        return names

    def answer(self, message: Any, model: ServedModel, answer: ModelAnswer, names: list[str]) -> Any:
        found = self._pb.ModelInferResponse(model_name=model.name, model_version=answer.version, id=message.id)
        for name in names:
            value = answer.outputs[name]
            found.outputs.add(name=name, datatype=datatype_of(value), shape=value.shape)
            found.raw_output_contents.append(as_raw(value))
        return found

    def is_prompt(self, message: Any, models: ServedModels, caller: ModelCaller) -> bool:
        """Raises ServingRefusal."""
        caller.check(message.model_name)
        current = models.named(message.model_name).current
        return current is not None and current.text is not None and [row.name for row in message.inputs] == [PROMPT]

    async def pieces(self, message: Any, models: ServedModels, arrived_s: float) -> AsyncIterator[Any]:
        """A message for each piece of text; parameters: max_tokens, temperature, seed. Raises ServingRefusal."""
        model = models.named(message.model_name)
        version = model.version(message.model_version)
        prompt = self.inputs(message)[PROMPT]
        if prompt.size != 1 or not isinstance(prompt.reshape(-1)[0], str):
            raise bad("the input 'prompt' is one text, BYTES [1]")
        ids = await prompt_ids(model.name, version.text, prompt.reshape(-1)[0], model.options.most_prompt_tokens)
        piece = None
        try:
            async for piece in generate(
                version, ids, _sampling(message, model), _wait, arrived_s, self.deadline_of(message, arrived_s, None)
            ):
                found = self._pb.ModelInferResponse(model_name=model.name, model_version=version.number, id=message.id)
                found.outputs.add(name=TEXT, datatype="BYTES", shape=[1])
                content = piece.text.encode("utf-8", "replace")
                found.raw_output_contents.append(len(content).to_bytes(4, "little") + content)
                found.parameters[FINAL].bool_param = bool(piece.finish)
                yield found
        except ServingRefusal as refusal:
            model.figures.refused(refusal.kind)
            raise
        except asyncio.CancelledError:
            model.figures.refused(RefusalKind.GONE)
            raise
        if piece:
            model.figures.answered(piece.spent, 0.0, time.monotonic() - arrived_s)

    def _check(self, parameters: Any) -> None:
        for name in UNBUILT:
            if name in parameters:
                raise bad(f"the parameter {name} is not supported; leave it out")


def _contents(row: Any) -> Any:
    """Values of a typed field, in one dimension. Raises ServingRefusal."""
    dtype = dtype_of(row.datatype, row.name)
    field = CONTENTS.get(row.datatype)
    if field is None:
        raise bad(f"input {row.name[:60]!r} of {row.datatype} is given as raw_input_contents only")
    values = list(getattr(row.contents, field))
    return texts_of(values, row.name) if dtype == "str" else array_of(values, dtype, row.name)


def _sampling(message: Any, model: ServedModel) -> TextSampling:
    given = {
        name: _value(message.parameters[name])
        for name in ("max_tokens", "temperature", "seed")
        if name in message.parameters
    }
    most, temperature, seed = given.get("max_tokens", 16), given.get("temperature", 0.0), given.get("seed")
    if type(most) is not int or not 1 <= most <= model.options.most_new_tokens:
        raise bad(f"the parameter max_tokens is a whole number from 1 to {model.options.most_new_tokens}")
    if not isinstance(temperature, (int, float)) or isinstance(temperature, bool) or not 0 <= temperature <= 2:
        raise bad("the parameter temperature is a number from 0 to 2")
    if seed is not None and type(seed) is not int:
        raise bad("the parameter seed is a whole number")
    return TextSampling(most, float(temperature), seed=abs(seed) if seed is not None else None)


def _value(parameter: Any) -> Any:
    field = parameter.WhichOneof("parameter_choice")
    return getattr(parameter, field) if field else None


async def _wait(future: asyncio.Future[ModelAnswer]) -> ModelAnswer:
    return await future


# The Open Inference Protocol, version 2, over gRPC, with messages of `tritonclient`, and `grpc.health.v1`.

LOG = logging.getLogger("deepseek.serving")
SERVICE, HEALTH = "inference.GRPCInferenceService", "grpc.health.v1.Health"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3  # of grpc.health.v1
HEALTH_LOOKS_S = 0.2
ENDS_STREAM = (RefusalKind.GONE, RefusalKind.NO_TOKEN, RefusalKind.NOT_READY)  # other refusals are of one message
OVERHEAD_BYTES = 1 << 20  # of a message beside its tensors
Answered = Callable[[Any, ModelCaller, Any], Awaitable[Any]]  # message, caller, context -> message


async def start_grpc(
    models: ServedModels, door: ServingAuth, host: str, port: int
) -> tuple[Any, int, asyncio.Task[None]]:
    """The server, its port, and what ends its idle streams. Raises ModelsError for a port that is taken."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its library in C prints lines of its own where a port is taken
    grpc = needed("grpc")
    limit = MAX_BODY_BYTES + OVERHEAD_BYTES
    options = [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.so_reuseport", 0),
    ]
    server = grpc.aio.server(options=options)
    service = OipService(grpc, models, door, port)
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(SERVICE, service.handlers()),
            grpc.method_handlers_generic_handler(HEALTH, service.health_handlers()),
        )
    )
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        found = server.add_insecure_port(place)
    except RuntimeError as error:
        raise ModelsError(
            f"port {port} of {host} cannot be opened for gRPC; give another --grpc-port, or --no-grpc"
        ) from error
    service.port = found
    await server.start()
    return server, found, asyncio.create_task(service.end_idle())


class OipService:
    """Each method reads bytes and answers a message or aborts with a status and one sentence."""

    def __init__(self, grpc: Any, models: ServedModels, door: ServingAuth, port: int) -> None:
        self._grpc, self._models, self._door, self.port = grpc, models, door, port
        self._pb = needed("tritonclient.grpc.service_pb2")
        self._messages = OipMessages(self._pb)
        self._idle: set[asyncio.Task[Any]] = set()  # of streams
        self._ended: set[asyncio.Task[Any]] = set()

    def handlers(self) -> dict[str, Any]:
        rows: dict[str, tuple[Answered, bool, bool]] = {  # open to all, asks a model
            "ServerLive": (self._server_live, True, False),
            "ServerReady": (self._server_ready, True, False),
            "ModelReady": (self._model_ready, True, False),
            "ServerMetadata": (self._server_metadata, True, False),
            "ModelMetadata": (self._model_metadata, False, False),
            "ModelInfer": (self._model_infer, False, True),
            "RepositoryIndex": (self._index, False, False),
            "RepositoryModelLoad": (self._load, False, False),
            "RepositoryModelUnload": (self._unload, False, False),
        }
        made = {
            name: self._grpc.unary_unary_rpc_method_handler(
                self._unary(getattr(self._pb, f"{name}Request"), answered, is_open, counts),
                response_serializer=getattr(self._pb, f"{name}Response").SerializeToString,
            )
            for name, (answered, is_open, counts) in rows.items()
        }
        made["ModelStreamInfer"] = self._grpc.stream_stream_rpc_method_handler(
            self._stream, response_serializer=self._pb.ModelStreamInferResponse.SerializeToString
        )
        return made

    def health_handlers(self) -> dict[str, Any]:
        """`StringValue` and `Int32Value` have the bytes of the health messages: one field, of the same number and type."""
        wrappers = needed("google.protobuf.wrappers_pb2")

        async def check(message: Any, caller: ModelCaller, context: Any) -> Any:
            if (status := self._health(message.value)) == SERVICE_UNKNOWN:
                raise ServingRefusal(RefusalKind.NOT_FOUND, f"there is no service or model {message.value[:80]!r}")
            return wrappers.Int32Value(value=status)

        async def watch(content: bytes, context: Any) -> AsyncIterator[Any]:
            try:
                name, last = _parsed(wrappers.StringValue, content).value, None
            except ServingRefusal as refusal:
                await self._abort(context, refusal)
            while True:
                if (status := self._health(name)) != last:
                    yield wrappers.Int32Value(value=status)
                    last = status
                if self._models.closing:
                    return
                await asyncio.sleep(HEALTH_LOOKS_S)

        serialize = wrappers.Int32Value.SerializeToString
        return {
            "Check": self._grpc.unary_unary_rpc_method_handler(
                self._unary(wrappers.StringValue, check, True, False), response_serializer=serialize
            ),
            "Watch": self._grpc.unary_stream_rpc_method_handler(watch, response_serializer=serialize),
        }

    def _health(self, name: str) -> int:
        if name in ("", SERVICE):
            return SERVING if self._models.is_ready else NOT_SERVING
        try:
            return SERVING if self._models.named(name).is_ready and not self._models.closing else NOT_SERVING
        except ServingRefusal:
            return SERVICE_UNKNOWN

    def _unary(
        self, message: Any, answered: Answered, is_open: bool, counts: bool
    ) -> Callable[[bytes, Any], Awaitable[Any]]:
        async def method(content: bytes, context: Any) -> Any:
            try:
                caller = self._caller(context, is_open, counts)
                return await answered(_parsed(message, content), caller, context)
            except ServingRefusal as refusal:
                await self._abort(context, refusal)
            except asyncio.CancelledError:
                raise
            except Exception:
                LOG.exception("%s failed", message.DESCRIPTOR.name)
                await self._abort(context, ServingRefusal(RefusalKind.FAILED, "the server failed; its log has more"))

        return method

    def _caller(self, context: Any, is_open: bool, counts: bool) -> ModelCaller:
        if is_open:
            return ModelCaller("open", frozenset(), False)
        metadata = context.invocation_metadata() or ()
        token = next((str(value) for key, value in metadata if key == "authorization"), "")
        names = (key for key, _ in metadata)
        caller = self._door.caller(
            token, counts, lambda: self._door.is_own_caller(names, str(context.peer()), self.port)
        )
        if counts and self._models.closing:
            raise stopping()
        return caller

    async def _abort(self, context: Any, refusal: ServingRefusal) -> None:
        code = getattr(self._grpc.StatusCode, refusal.kind.grpc)
        await context.abort(code, str(refusal), tuple(refusal.retry_after.items()))

    async def _server_live(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        return self._pb.ServerLiveResponse(live=True)

    async def _server_ready(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        return self._pb.ServerReadyResponse(ready=self._models.is_ready)

    async def _model_ready(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        model = self._models.named(message.name)
        if message.version:
            model.version(message.version)
        return self._pb.ModelReadyResponse(ready=model.is_ready and not self._models.closing)

    async def _server_metadata(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        return self._messages.server_metadata()

    async def _model_metadata(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        caller.check(message.name)
        model = self._models.named(message.name)
        return self._messages.model_metadata(model, model.version(message.version))

    async def _index(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        models = [model for model in self._models if caller.models is None or model.name in caller.models]
        return self._messages.index([model for model in models if model.is_ready or not message.ready])

    async def _load(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        caller.check_manages()
        caller.check(message.model_name)
        try:
            await self._models.named(message.model_name).load()
        except ModelsError as error:
            raise ServingRefusal(RefusalKind.CONFLICT, f"not loaded, and the version in use goes on: {error}") from None
        return self._pb.RepositoryModelLoadResponse()

    async def _unload(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        raise not_unloaded()

    async def _model_infer(self, message: Any, caller: ModelCaller, context: Any) -> Any:
        arrived_s = time.monotonic()
        caller.check(message.model_name)
        model = self._models.named(message.model_name)
        try:
            model.refuse_early(self._models.lag_s)
            version = model.version(message.model_version)
            deadline_s = self._messages.deadline_of(message, arrived_s, context.time_remaining())
            names = self._messages.wanted(message, version)
            answer = await version.submit(self._messages.inputs(message), arrived_s, deadline_s)
            answered_s = time.monotonic()
            found = self._messages.answer(message, model, answer, names)
            now_s = time.monotonic()
            model.figures.answered(answer, now_s - answered_s, now_s - arrived_s)
            return found
        except ServingRefusal as refusal:
            model.figures.refused(refusal.kind)
            raise
        except asyncio.CancelledError:
            model.figures.refused(RefusalKind.GONE)
            raise

    async def _stream(self, requests: Any, context: Any) -> None:
        """An answer or a sentence for each message, in order; of a text model one for each piece of text."""
        response = self._pb.ModelStreamInferResponse
        try:
            async for content in self._each(requests):
                try:
                    caller = self._caller(context, False, True)
                    message = _parsed(self._pb.ModelInferRequest, content)
                    if self._messages.is_prompt(message, self._models, caller):
                        async for part in self._messages.pieces(message, self._models, time.monotonic()):
                            await self._write(context, response(infer_response=part))
                    else:
                        await self._write(
                            context, response(infer_response=await self._model_infer(message, caller, context))
                        )
                except ServingRefusal as refusal:
                    if refusal.kind in ENDS_STREAM:
                        raise
                    await self._write(context, response(error_message=str(refusal)))
        except ServingRefusal as refusal:
            await self._abort(context, refusal)
        except (asyncio.CancelledError, self._grpc.aio.AbortError):
            raise
        except Exception:
            LOG.exception("ModelStreamInfer failed")
            await self._abort(context, ServingRefusal(RefusalKind.FAILED, "the server failed; its log has more"))

    async def _each(self, requests: Any) -> AsyncIterator[bytes]:
        task, messages = asyncio.current_task(), aiter(requests)
        assert task
        while True:
            self._idle.add(task)
            try:
                content = await anext(messages)
            except StopAsyncIteration:
                return
            except asyncio.CancelledError:
                if task not in self._ended:
                    raise
                raise stopping() from None
            finally:
                self._idle.discard(task)
            yield content

    async def end_idle(self) -> None:
        """Streams that wait for a message do not hold up a server that stops."""
        while not self._models.closing:
            await asyncio.sleep(HEALTH_LOOKS_S)
        self._ended = set(self._idle)
        for task in self._ended:
            task.cancel()

    async def _write(self, context: Any, message: Any) -> None:
        try:
            async with asyncio.timeout(SEND_S):
                await context.write(message)
        except TimeoutError:
            raise ServingRefusal(RefusalKind.GONE, f"the client has not read for {SEND_S:g} s") from None


def _parsed(message: Any, content: bytes) -> Any:
    try:
        return message.FromString(content)
    except Exception as error:  # DecodeError; its class differs between protobuf's implementations
        raise bad(f"the message is no {message.DESCRIPTOR.name} ({type(error).__name__})") from None
