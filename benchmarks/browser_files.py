"""What one file of browser code costs the server, beside compressing it for each request.

python -m benchmarks.browser_files
"""

from __future__ import annotations

import gzip
import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import Row, run
from collectors.store.engines import open_store
from dashboard import static_files
from dashboard.queries import Queries
from tests.support.serving import served

FILES = {
    "a module of ours": f"{static_files.versioned()}/lib/dom.js",
    "the largest style sheet": f"{static_files.versioned()}/app.css",
    "AG Grid's late bundle": "/_dash-component-suites/dash_ag_grid/async-community.js",
}
TIMES = 40
LEVEL = 5  # of the answers that are compressed each time


def measure() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="browser-files-") as folder:
        open_store(Path(folder), write=True).close()
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.browser_files", "--serve", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            assert server.stdout is not None and server.stdin is not None
            connection = http.client.HTTPConnection("127.0.0.1", int(server.stdout.readline()), timeout=30)
            rows = [row for name, path in FILES.items() for row in rows_of(connection, name, path)]
            connection.close()
            server.stdin.close()
    return rows


def rows_of(connection: http.client.HTTPConnection, name: str, path: str) -> list[Row]:
    """The baseline is the same, and compressing it on top, as each request did before."""
    body = gzip.decompress(asked(connection, path)[1])
    kept_ms = statistics.median(timed(lambda: asked(connection, path)) for _ in range(TIMES))
    packing_ms = statistics.median(timed(lambda: gzip.compress(body, LEVEL)) for _ in range(TIMES))
    tag = asked(connection, path)[0]
    again_ms = statistics.median(timed(lambda: asked(connection, path, tag)) for _ in range(TIMES))
    return [
        Row(f"{name}, {len(body):,} bytes", kept_ms, "ms", baseline=kept_ms + packing_ms),
        Row("... that the browser has already", again_ms, "ms"),
    ]


def asked(connection: http.client.HTTPConnection, path: str, tag: str = "") -> tuple[str, bytes]:
    connection.request("GET", path, headers={"Accept-Encoding": "gzip", "If-None-Match": tag})
    answer = connection.getresponse()
    return answer.headers["ETag"], answer.read()


def timed(work: Callable[[], object]) -> float:
    """Milliseconds."""
    began_s = time.perf_counter()
    work()
    return (time.perf_counter() - began_s) * 1e3


def serve(folder: Path) -> None:
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        print(web.port, flush=True)
        sys.stdin.read()
    queries.close()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(Path(sys.argv[-1]))
    else:
        sys.exit(run(measure, __doc__ or ""))
