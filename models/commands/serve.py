"""`deepseek-models serve clothes=models/clothes`: models over REST and gRPC, as a run of kind `service`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from access.program import Command, count, port, positive

from ..errors import WrongOption

MIN_THREADS = 64  # allowed on any host


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models",
        nargs="+",
        metavar="NAME=FOLDER",
        help="model folder and the name used in requests (default: the folder's)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on; any but loopback needs --tokens (default: 127.0.0.1)",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another host name by which clients reach it; may be repeated",
    )
    parser.add_argument(
        "--port", type=port, default=8100, metavar="N", help="HTTP port; 0 picks a free one (default: 8100)"
    )
    parser.add_argument(
        "--grpc-port", type=port, default=8101, metavar="N", help="gRPC port; 0 picks a free one (default: 8101)"
    )
    parser.add_argument("--no-grpc", action="store_true", help="serve HTTP only")
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="FOLDER",
        help="require a token of this folder (deepseek-models token)",
    )
    parser.add_argument(
        "--runtime",
        choices=["onnxruntime", "openvino"],
        default="onnxruntime",
        help="inference runtime (default: onnxruntime)",
    )
    parser.add_argument(
        "--precision",
        default="",
        metavar="NAME",
        help="precision to compute in, such as bf16 (default: the model's own)",
    )
    parser.add_argument("--threads", type=side_by_side, default=1, metavar="N", help="threads per call (default: 1)")
    parser.add_argument(
        "--workers", type=side_by_side, default=1, metavar="N", help="concurrent calls per model (default: 1)"
    )
    parser.add_argument(
        "--most-rows",
        type=count,
        default=32,
        metavar="N",
        help="maximum batch size; the warm-up picks a smaller one if that is as fast (default: 32)",
    )
    parser.add_argument(
        "--most-wait",
        type=positive,
        metavar="MS",
        help="refuse requests that would wait longer (default: 50, or three full batches)",
    )
    parser.add_argument(
        "--target",
        type=positive,
        metavar="MS",
        help="p99 target; missing it is a finding of the run (default: none)",
    )
    parser.add_argument(
        "--logs", type=Path, default=Path("logs"), metavar="FOLDER", help="log folder for the run (default: logs)"
    )
    parser.add_argument("--run", metavar="NAME", help="name of the run (default: serve and the time)")  # fmt: skip


def run(parsed: argparse.Namespace) -> int:
    from ..serving.model import ServingOptions
    from ..serving.server import ServingPlan, serve

    options = ServingOptions(
        runtime=parsed.runtime,
        precision=parsed.precision,
        threads=parsed.threads,
        workers=parsed.workers,
        most_rows=parsed.most_rows,
        most_wait_s=None if parsed.most_wait is None else parsed.most_wait / 1e3,
    )
    plan = ServingPlan(
        folders=folders_of(parsed.models),
        options=options,
        host=parsed.host.strip("[]"),
        port=parsed.port,
        grpc_port=None if parsed.no_grpc else parsed.grpc_port,
        tokens=parsed.tokens,
        hosts=tuple(parsed.allow_host),
        logs=parsed.logs,
        run=parsed.run,
        target_s=None if parsed.target is None else parsed.target / 1e3,
    )
    serve(plan, started=lambda places: print(*(f"{scheme}://{place}" for scheme, place in places.items()), flush=True))
    return 0


def folders_of(words: list[str]) -> dict[str, Path]:
    """`["clothes=models/a", "models/b"]` -> `{"clothes": ..., "b": ...}`. Raises WrongOption."""
    folders: dict[str, Path] = {}
    for word in words:
        name, equals, folder = word.partition("=")
        path = Path(folder if equals else word)
        name = name if equals else path.resolve().name
        if name in folders:
            raise WrongOption(f"there are two models {name!r}; give one of them another name: NAME=FOLDER")
        folders[name] = path
    return folders


def side_by_side(text: str) -> int:
    """More than the host has cores would only wait for each other; thousands of them do not even start."""
    most = max(MIN_THREADS, os.cpu_count() or 1)
    if count(text) > most:
        raise argparse.ArgumentTypeError(f"{text!r} is more than the {most} that run side by side here")
    return int(text)


COMMAND = Command("serve", "Serve models over REST and gRPC with batching, limits and hot reload.", arguments, run)
