"""What a base path, named proxies and a certificate cost beside a dashboard without them.

python -m benchmarks.reach
"""

from __future__ import annotations

import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

from access.hosts import Certificate, CertificateReloader, _shake_hands
from access.peers import PEER
from benchmarks.access import HEADERS, best_us
from benchmarks.report import Row, run
from dashboard.network import BasePathMiddleware, ProxyHeadersMiddleware
from tests.support.proxies import make_certificate

HANDSHAKES = 20


async def answered(scope: Any, receive: Any, send: Any) -> None:
    """The application: nothing."""


class AtProxy:
    """The peer of a connection that a proxy has made."""

    is_unix, address, our_address = False, "127.0.0.1", "127.0.0.1"


def measure() -> list[Row]:
    more = {b"x-forwarded-for": b"192.0.2.7", b"x-forwarded-proto": b"https"}
    plain, behind = asked("/api/v1/curves", {}), asked("/api/v1/curves", more)
    below = asked("/user/ada/box/api/v1/curves", {})
    nothing_us = best_us(lambda: through(answered, plain))
    base, proxies = BasePathMiddleware(answered, "/user/ada/box/"), ProxyHeadersMiddleware(answered, ["127.0.0.1"])
    rows = [
        Row("a request below a base path", best_us(lambda: through(base, below)) - nothing_us, "us", budget=20),
        Row("a request through a named proxy", best_us(lambda: through(proxies, behind)) - nothing_us, "us", budget=50),
    ]
    with tempfile.TemporaryDirectory(prefix="reach-") as folder:
        certificate = Certificate(*make_certificate(Path(folder), "measured"))
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        renewing, fixed = CertificateReloader(certificate), certificate.context()
        looked_us = best_us(lambda: _shake_hands(client, renewing.context), HANDSHAKES)
        rows += [
            Row(
                "a handshake, both ends",
                looked_us,
                "us",
                baseline=best_us(lambda: _shake_hands(client, fixed), HANDSHAKES),
            ),
            Row("... of it, the look at the files", best_us(certificate.stamp), "us", budget=50),
        ]
    return rows


def asked(path: str, more: dict[bytes, bytes]) -> dict[str, Any]:
    headers = list({**HEADERS, **more}.items())
    about = {"type": "http", "method": "GET", "scheme": "http", "client": ("127.0.0.1", 4711), "query_string": b""}
    return {**about, "path": path, "raw_path": path.encode(), "headers": headers, "extensions": {PEER: AtProxy()}}


def through(app: Any, scope: dict[str, Any]) -> None:
    work = app(scope, None, None)
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


if __name__ == "__main__":
    sys.exit(run(measure, __doc__ or ""))
