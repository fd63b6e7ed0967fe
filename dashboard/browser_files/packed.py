"""Files that are compressed once and kept so, with a tag by which a browser asks whether its own copy is still the same."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from typing import NamedTuple

from fastapi import Request, Response

LEVEL = 9
LASTING = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"


class PackedFile(NamedTuple):
    stamp: object
    tag: str
    data: bytes  # gzip


class PackedFiles:
    """Asked for by name: there are as many as the server has files. May be asked from many threads."""

    def __init__(self) -> None:
        self._known: dict[str, PackedFile] = {}

    def answer(
        self, request: Request, name: str, stamp: object, read: Callable[[], bytes], media_type: str, lasting: bool
    ) -> Response:
        """`stamp` is another one when the file is; `lasting`: its address never means another content."""
        packed = self._known.get(name)
        if packed is None or packed.stamp != stamp:
            data = read()
            packed = PackedFile(
                stamp, f'"{hashlib.sha256(data).hexdigest()[:24]}"', gzip.compress(data, LEVEL, mtime=0)
            )
            self._known[name] = packed
        headers = {"ETag": packed.tag, "Vary": "Accept-Encoding", "Cache-Control": LASTING if lasting else ASKED_AGAIN}
        if packed.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(packed.data, media_type=media_type, headers={**headers, "Content-Encoding": "gzip"})
        return Response(gzip.decompress(packed.data), media_type=media_type, headers=headers)
