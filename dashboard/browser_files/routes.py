"""The routes of browser code, which stand before those of Dash."""

from __future__ import annotations

import mimetypes
import pkgutil

from dash import Dash
from dash.fingerprint import check_fingerprint
from fastapi import FastAPI, Request, Response

from ..auth.roles import Role, needs
from ..queries import NotFound
from . import assets, packs
from .packed import PackedFiles


def add_routes(app: FastAPI) -> None:
    """`app.state.dash` is there when they are asked."""
    files = PackedFiles()

    @needs(Role.ANYONE)  # files of the program, the same everywhere: the log-in page needs some
    def asset(request: Request, path: str) -> Response:
        inside, page, lasting = assets.parted(path)
        if page and inside.endswith(".js") and not inside.startswith(packs.VENDOR):
            return packed(request, path, inside, page, lasting)
        file = assets.found(inside)
        if file is None:
            raise NotFound(f"no file {path!r} in assets")
        status = file.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        return files.answer(request, f"assets/{file}", stamp, file.read_bytes, _media_type(inside), lasting)

    def packed(request: Request, path: str, inside: str, page: str, lasting: bool) -> Response:
        """A module of a page, with what it takes from the page's pack."""
        pack = packs.pack_of(page)
        text = pack.served(inside) if pack else None
        if text is None:
            raise NotFound(f"no file {path!r} in assets")
        return files.answer(
            request, f"assets/{page}/{inside}", assets.versioned(), text.encode, _media_type(inside), lasting
        )

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
