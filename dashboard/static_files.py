"""Files for the browser: our modules and styles, and Dash's bundles, packed and cached."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import pkgutil
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import zstandard
from dash import Dash
from dash.fingerprint import check_fingerprint
from fastapi import FastAPI, Request, Response

import assets
from access.roles import Role, needs

from .queries import NotFound

# Our modules, styles and icon in `assets/`, below a path that is another one whenever one of them is: browsers may keep them.

ASSETS = assets.FOLDER
VERSION_PATH = re.compile(r"v[0-9a-f]{12}", re.ASCII)
LOOK_S = 1.0  # files may be edited while they are served

_lock = Lock()
_known: tuple[float, str] = (float("-inf"), "")


def versioned() -> str:
    """`/assets/v0123456789ab`: the path of the files as they are now."""
    global _known
    with _lock:
        if time.monotonic() - _known[0] > LOOK_S:
            _known = time.monotonic(), _version()
        return f"/assets/{_known[1]}"


class AssetPath(NamedTuple):
    path: str  # below `assets/`
    lasting: bool  # the address names the version that the files have now


def split_path(path: str) -> AssetPath:
    """`v0123456789ab/lib/dom.js -> lib/dom.js`."""
    first, _, rest = path.partition("/")
    return (
        AssetPath(rest, versioned() == f"/assets/{first}") if VERSION_PATH.fullmatch(first) else AssetPath(path, False)
    )


def found(path: str) -> Path | None:
    """The file, unless there is none or it lies elsewhere."""
    try:
        file = (ASSETS / path).resolve()
        return file if file.is_relative_to(ASSETS) and file.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _version() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in ASSETS.rglob("*") if not path.match("*.py[c]")):
        with suppress(OSError):  # it is gone meanwhile
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return f"v{digest.hexdigest()[:12]}"


# Files that are compressed once and kept so, with a tag by which a browser asks whether its own copy is still the same.

LEVEL, ZSTD_LEVEL = 9, 12  # of a tenth of a second for AG Grid each; zstd is 12% smaller
SMALL_BYTES, SMALL_ZSTD_LEVEL = (
    1 << 20,
    16,
)  # of what every page loads: 0.2 s once for our modules, which are 4% smaller for it
LASTING = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"


class PackedFile:
    """A file, compressed for each coding that was asked for."""

    def __init__(self, stamp: object, data: bytes) -> None:
        self.stamp = stamp
        self.tag = f'"{hashlib.sha256(data).hexdigest()[:24]}"'
        self._gzip = gzip.compress(data, LEVEL, mtime=0)
        self._zstd = b""

    def coded(self, coding: str) -> bytes:
        """`coding` is `zstd`, `gzip`, or "" for the file as it is."""
        if coding == "zstd":
            if not self._zstd:
                data = self.coded("")
                level = SMALL_ZSTD_LEVEL if len(data) < SMALL_BYTES else ZSTD_LEVEL
                self._zstd = zstandard.ZstdCompressor(level=level).compress(data)
            return self._zstd
        return self._gzip if coding == "gzip" else gzip.decompress(self._gzip)


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
            packed = self._known[name] = PackedFile(stamp, read())
        headers = {"ETag": packed.tag, "Vary": "Accept-Encoding", "Cache-Control": LASTING if lasting else ASKED_AGAIN}
        if packed.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        accepted = request.headers.get("accept-encoding", "")
        coding = next((coding for coding in ("zstd", "gzip") if coding in accepted), "")
        if coding:
            headers["Content-Encoding"] = coding
        return Response(packed.coded(coding), media_type=media_type, headers=headers)


# All modules in one file, and all styles in another: a browser asks for six files at a time, and each one costs it some milliseconds,
# also from its cache. In a checkout where what they were built of has changed, they are that.

UNBUILT = {
    "built/modules.js": 'export * from "../modules.js";\n',
    "built/modules.css": '@import url("../modules.css");\n',
}


@lru_cache(8)
def _built(name: str, _version: str) -> bytes:
    return (ASSETS / name).read_bytes() if assets.is_built() else UNBUILT[name].encode()


# The routes of browser code, which stand before those of Dash.


def add_routes(app: FastAPI) -> None:
    """`app.state.dash` is there when they are asked."""
    files = PackedFiles()

    @needs(Role.ANYONE)  # files of the program, the same everywhere: the log-in page needs some
    def asset(request: Request, path: str) -> Response:
        inside, lasting = split_path(path)
        if inside in UNBUILT:
            now = versioned()
            return files.answer(request, inside, now, lambda: _built(inside, now), _media_type(inside), lasting)
        file = found(inside)
        if file is None:
            raise NotFound(f"no file {path!r} in assets")
        status = file.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        return files.answer(request, f"assets/{file}", stamp, file.read_bytes, _media_type(inside), lasting)

    @needs(Role.ANYONE)  # files of a published package
    def suite(request: Request, package: str, path: str) -> Response:
        """A file of Dash's own browser code, of those that Dash itself lists."""
        inside, has_fingerprint = check_fingerprint(path)
        dash: Dash = request.app.state.dash
        if inside not in dash.registered_paths.get(package, ()):
            raise NotFound(f"no file {path} in {package}")

        def read() -> bytes:
            return pkgutil.get_data(package, inside) or b""

        try:
            return files.answer(request, f"{package}/{inside}", None, read, _media_type(inside), has_fingerprint)
        except OSError:  # listed, but not part of what was installed
            raise NotFound(f"no file {path} in {package}") from None

    app.add_api_route("/assets/{path:path}", asset, include_in_schema=False)
    app.add_api_route("/_dash-component-suites/{package}/{path:path}", suite, include_in_schema=False)


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
