"""Files for the browser: our modules and styles, and Dash's bundles, packed and cached."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import pkgutil
import posixpath
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from graphlib import TopologicalSorter
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from dash import Dash
from dash.fingerprint import check_fingerprint
from fastapi import FastAPI, Request, Response

from access.roles import Role, needs

from .queries import NotFound

# Our modules, styles and icon in `assets/`, below a path that is another one whenever one of them is: browsers may keep them.

ASSETS = Path(__file__).resolve().parents[1] / "assets"
VERSION_PATH = re.compile(r"(v[0-9a-f]{12})(?:-(\w+))?", re.ASCII)
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
    page: str  # whose pack the modules of this address use; "" for none
    lasting: bool  # the address names the version that the files have now


def split_path(path: str) -> AssetPath:
    """`v0123456789ab-flame/lib/dom.js -> lib/dom.js, flame`."""
    first, _, rest = path.partition("/")
    found = VERSION_PATH.fullmatch(first)
    return (
        AssetPath(rest, found[2] or "", versioned() == f"/assets/{found[1]}") if found else AssetPath(path, "", False)
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
    for path in sorted(ASSETS.rglob("*")):
        with suppress(OSError):  # it is gone meanwhile
            status = path.stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return f"v{digest.hexdigest()[:12]}"


# Files that are compressed once and kept so, with a tag by which a browser asks whether its own copy is still the same.

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


# The modules of a page as one file: a browser asks for six at a time, and each one costs it some milliseconds, also from its cache.
#
# A module `lib/dom.js` with `import { a } from "./b.js"` and `export function el` becomes
#
#     export const m3 = (() => {
#     const { a } = m2;
#     function el...
#     return { el };
#     })();
#
# Below `/assets/v<digest>-<page>/` all modules take what the page's pack has from there, so that each module is there once.

PACK, MAIN = "pack.js", "main.js"
VENDOR = "vendor/"  # left alone: minified, and changed once a year
IMPORT = re.compile(r'^import (?:(\w+)|\{([^}]*)\}) from "(\.[^"]+)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (default )?((?:async )?(?:class|function\*?|const)) (\w+)", re.MULTILINE)
LATER = re.compile(r'\bimport\("(\.[^"]+)"\)')  # while the page is used


def imports(name: str) -> set[str]:
    """Paths below assets/ of what a module imports at once."""
    return {_resolved(name, target) for *_, target in IMPORT.findall(_text(name))}


def needed(names: Iterable[str]) -> dict[str, set[str]]:
    """Modules with what they import, from these on, in the order in which they are found."""
    found: dict[str, set[str]] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = set() if name.startswith(VENDOR) else imports(name)
            waiting += sorted(found[name])
    return found


def entry_of(page: str) -> str | None:
    """`flame -> pages/flame/page.js`, the module that draws the page; None: there is no such page."""
    return next((name for name in (f"pages/{page}/page.js", f"pages/{page}.js") if found(name) is not None), None)


class Pack(NamedTuple):
    page: str
    entry: str
    numbers: dict[str, int]  # by module, in an order in which each stands behind what it imports
    vendored: list[str]

    def served(self, name: str) -> str | None:
        """The text of a module below the page's path; None: there is none."""
        if name == PACK:
            return self._whole()
        if name in self.numbers:
            return self._stub(name)
        return self._bound(name, _text(name)) if found(name) is not None else None

    def _whole(self) -> str:
        head = [f'import {_vendor_name(name)} from "./{name}";' for name in self.vendored]
        return "\n".join(
            [
                *head,
                *(self._part(name) for name in self.numbers),
                f"export default m{self.numbers[self.entry]}.default;",
                "",
            ]
        )

    def _part(self, name: str) -> str:
        text = _text(name)
        exported = [f"default: {own}" if default else own for default, _, own in EXPORT.findall(text)]
        body = LATER.sub(
            lambda found: f'import("./{_resolved(name, found[1])}")',
            IMPORT.sub(lambda found: self._import(name, found), text),
        )
        body = EXPORT.sub(r"\2 \3", body)
        return f"export const m{self.numbers[name]} = (() => {{ // {name}\n{body}\nreturn {{ {', '.join(exported)} }};\n}})();"

    def _import(self, name: str, found: re.Match[str]) -> str:
        default, names, target = found.groups()
        path = _resolved(name, target)
        if path.startswith(VENDOR):
            return f"const {default} = {_vendor_name(path)};"
        return f"const {{ {_renamed(names)} }} = m{self.numbers[path]};"

    def _stub(self, name: str) -> str:
        number = self.numbers[name]
        names = [own for default, _, own in EXPORT.findall(_text(name)) if not default]
        lines = [f'import {{ m{number} }} from "{_relative(name, PACK)}";', f"export default m{number}.default;"]
        return "\n".join([*lines, f"export const {{ {', '.join(names)} }} = m{number};" if names else "", ""])

    def _bound(self, name: str, text: str) -> str:
        """A module that is not in the pack, with what it imports from there."""

        def bind(found: re.Match[str]) -> str:
            default, names, target = found.groups()
            number = self.numbers.get(_resolved(name, target))
            if default or number is None:
                return found[0]
            return f'import {{ m{number} }} from "{_relative(name, PACK)}"; const {{ {_renamed(names)} }} = m{number};'

        return IMPORT.sub(bind, text)


def pack_of(page: str) -> Pack | None:
    """As the files are now; None: there is no such page."""
    return _pack_of(page, versioned())


@lru_cache(64)
def _pack_of(page: str, version: str) -> Pack | None:
    entry = entry_of(page)
    if entry is None:
        return None
    graph = needed([MAIN, entry])
    order = [name for name in TopologicalSorter(graph).static_order() if name != MAIN and not name.startswith(VENDOR)]
    vendored = sorted(name for name in graph if name.startswith(VENDOR))
    return Pack(page, entry, {name: number for number, name in enumerate(order)}, vendored)


def _text(name: str) -> str:
    return (ASSETS / name).read_text()


def _renamed(names: str) -> str:
    """`a, b as c -> a, b: c`."""
    return re.sub(r" as ", ": ", names.strip().rstrip(","))


def _vendor_name(path: str) -> str:
    return "vendor_" + re.sub(r"\W", "_", posixpath.basename(path))


def _resolved(name: str, target: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), target))


def _relative(name: str, target: str) -> str:
    path = posixpath.relpath(target, posixpath.dirname(name) or ".")
    return path if path.startswith(".") else f"./{path}"


# The routes of browser code, which stand before those of Dash.


def add_routes(app: FastAPI) -> None:
    """`app.state.dash` is there when they are asked."""
    files = PackedFiles()

    @needs(Role.ANYONE)  # files of the program, the same everywhere: the log-in page needs some
    def asset(request: Request, path: str) -> Response:
        inside, page, lasting = split_path(path)
        if page and inside.endswith(".js") and not inside.startswith(VENDOR):
            return packed(request, path, inside, page, lasting)
        file = found(inside)
        if file is None:
            raise NotFound(f"no file {path!r} in assets")
        status = file.stat()
        stamp = (status.st_size, status.st_mtime_ns)
        return files.answer(request, f"assets/{file}", stamp, file.read_bytes, _media_type(inside), lasting)

    def packed(request: Request, path: str, inside: str, page: str, lasting: bool) -> Response:
        """A module of a page, with what it takes from the page's pack."""
        pack = pack_of(page)
        text = pack.served(inside) if pack else None
        if text is None:
            raise NotFound(f"no file {path!r} in assets")
        return files.answer(request, f"assets/{page}/{inside}", versioned(), text.encode, _media_type(inside), lasting)

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
