"""Other servers of the same model, each a program: `python -m benchmarks.models.serving_peers NAME FOLDER PORT`.

`fastapi` and `grpc` are bare handlers that read the same request and answer a constant: what a request costs without a model, checks, queue
or batches. `litserve` and `ray` serve the model with batches, where they are installed.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np

OUTPUT = [[0.0, 0.0, 0.0]]
BATCH, BATCH_WAIT_S = 32, 0.001
PACKAGES = {"litserve": "litserve", "ray": "ray.serve"}


def fastapi(folder: Path, port: int) -> None:
    import uvicorn
    from fastapi import FastAPI, Request

    app = FastAPI()

    @app.post("/v1/infer")
    async def infer(request: Request) -> dict[str, Any]:
        table = await request.json()
        return {"model": table["model"], "version": "1", "output": OUTPUT}

    uvicorn.run(app, port=port, access_log=False, log_level="error")


def grpc(folder: Path, port: int) -> None:
    import grpc as library
    from tritonclient.grpc import service_pb2 as pb

    async def infer(message: Any, context: Any) -> Any:
        answer = pb.ModelInferResponse(model_name=message.model_name, model_version="1", id=message.id)
        answer.outputs.add(name="y", datatype="FP32", shape=[1, 3])
        answer.raw_output_contents.append(b"\0" * 12)
        return answer

    async def whole() -> None:
        server = library.aio.server()
        handler = library.unary_unary_rpc_method_handler(
            infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
        )
        server.add_generic_rpc_handlers(
            (library.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler}),)
        )
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        await server.wait_for_termination()

    asyncio.run(whole())


def litserve(folder: Path, port: int) -> None:
    import litserve as library
    from litserve import server

    from .litserve_peer import LitModel

    server._MCP_AVAILABLE = False  # 0.2.19 does not start beside mcp without fastmcp
    api = LitModel(folder, max_batch_size=BATCH, batch_timeout=BATCH_WAIT_S, api_path="/v1/infer")
    library.LitServer(api, accelerator="cpu").run(
        host="127.0.0.1", port=port, generate_client_file=False, log_level="error"
    )


def ray(folder: Path, port: int) -> None:
    import signal

    from ray import serve

    from models.artifact import Artifact

    @serve.deployment(max_ongoing_requests=500)
    class Api:
        def __init__(self) -> None:
            self.session = Artifact.open(folder, check=False).session()

        @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=BATCH_WAIT_S)  # type: ignore[untyped-decorator]
        async def predict(self, inputs: list[Any]) -> list[Any]:
            found = next(iter(self.session.run({"x": np.concatenate(inputs)}).values()))
            return [found[place : place + 1].tolist() for place in range(len(found))]

        async def __call__(self, request: Any) -> Any:
            table = await request.json()
            return {"output": await self.predict(np.array(table["input"], np.float32))}

    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Api.bind(), route_prefix="/v1/infer")  # type: ignore[attr-defined]
    signal.pause()


if __name__ == "__main__":
    {"fastapi": fastapi, "grpc": grpc, "litserve": litserve, "ray": ray}[sys.argv[1]](
        Path(sys.argv[2]), int(sys.argv[3])
    )
