"""Pages of one's own: Python files of the folder that `--pages-dir` names, run as the dashboard is."""

from __future__ import annotations

import inspect
import logging
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response

from access.roles import Role, needs

from ..queries import NotFound
from .page import Page

if TYPE_CHECKING:
    from dash import Dash

    from ..queries import Queries


PREFIX, MODULES_PREFIX = "/own/", "/own-modules/"  # of their paths, and of browser code beside them
PROGRAM = Path(__file__).resolve().parents[2]  # holds our packages
MAX_PAGES = 50
MAX_BYTES = 1_000_000  # of a file
MAX_CHARS = 300  # of what an error says
STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
MODULE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}\.(js|css)", re.ASCII)
PACKAGE = "deepseek_pages"  # of the modules that pages are
MEDIA_TYPES = {"js": "text/javascript", "css": "text/css"}
BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

log = logging.getLogger(__name__)


class BrokenPage(Exception):
    """Why a file is no page: one sentence."""


class CustomPage:
    """A file with `layout`, a component or a function of the queries or of nothing, and perhaps `callbacks(dash, queries)`, NAME and PACKAGES.

    What is wrong with it stands on its page, and costs no other.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scope: Mapping[str, Any] = {}
        self._queries: Queries | None = None
        _, self._trouble = _tried(path, self._load)

    @property
    def page(self) -> Page:
        name = self._scope.get("NAME")
        shown = name if isinstance(name, str) and name.strip() else self._path.stem
        packages = tuple(self._scope.get("PACKAGES", ()))
        return Page(
            "",
            shown[:40],
            f"{PREFIX}{self._path.stem}",
            self._layout,
            self._callbacks,
            packages,
        )

    def _load(self) -> None:
        scope: dict[str, Any] = {"__name__": f"{PACKAGE}.{self._path.stem}", "__file__": str(self._path)}
        exec(_code(self._path), scope)
        if "layout" not in scope:
            raise BrokenPage(f"{self._path.name} has no layout: a Dash component, or a function that makes one")
        for package in scope.get("PACKAGES", ()):  # Dash serves the browser code of what is imported before it starts
            import_module(package)
        self._scope = scope

    def _layout(self, **_: Any) -> Any:
        """Made at each visit: one that failed, as on a log folder without runs, is tried again at the next."""
        from dash import html

        made, trouble = (None, self._trouble) if self._trouble else _tried(self._path, self._made)
        return html.Div(html.P(trouble, className="warn", role="alert") if trouble else made, className="own-page")

    def _made(self) -> Any:
        made = self._scope["layout"]
        if callable(made):
            made = made(self._queries) if inspect.signature(made).parameters else made()
        _check_shown(self._path.name, made)
        return made

    def _callbacks(self, dash: Dash, queries: Queries) -> None:
        self._queries = queries
        register = self._scope.get("callbacks")
        if register is not None and not self._trouble:
            _, self._trouble = _tried(self._path, lambda: _register(dash, lambda: register(dash, queries)))


def check_folder(folder: Path, others: Sequence[Path]) -> None:
    """`others` are the log and the data folder: what programs write there is no code of ours. Raises ValueError."""
    try:
        status = folder.stat()
    except OSError as error:
        raise ValueError(f"cannot read {folder} ({error.strerror}); choose another folder with --pages-dir") from None
    if not stat.S_ISDIR(status.st_mode):
        raise ValueError(f"{folder} is no folder; --pages-dir names one with Python files")
    where = folder.resolve()
    for other in others:
        if where.is_relative_to(other.resolve()):
            raise ValueError(
                f"{folder} lies in {other}, where programs write; pages are code: keep them in a folder of their own"
            )
    if why := _not_ours(status):
        raise ValueError(f"{folder} {why}; its files would run as the dashboard")


class _OurModules(MetaPathFinder, Loader):
    """`deepseek.dashboard.components`, imported by a page, is the module that runs here as `dashboard.components`: a second copy would
    register its components and callbacks once more."""

    def __init__(self) -> None:
        self._specs: dict[str, ModuleSpec | None] = {}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        prefix, _, ours = name.partition(".")
        package = sys.modules.get(ours.partition(".")[0])
        file = getattr(package, "__file__", None)
        is_beside = prefix == "deepseek" and file is not None and Path(file).parents[1] == PROGRAM
        return spec_from_loader(name, self, is_package=True) if is_beside else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = import_module(spec.name.partition(".")[2])
        self._specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__ = self._specs.pop(module.__spec__.name)


def own_pages(folder: Path) -> tuple[Page, ...]:
    """By name, at most 50; files that begin with `_` are no pages, and may be imported by those that are."""
    if not any(isinstance(finder, _OurModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OurModules())
    sys.modules.setdefault(PACKAGE, ModuleType(PACKAGE))  # where Dash looks for what a page's components need
    paths = sorted(path for path in folder.glob("*.py") if not path.name.startswith("_"))
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    return tuple(CustomPage(path).page for path in _named(paths))


def _named(paths: Sequence[Path]) -> Iterator[Path]:
    named = [path for path in paths if STEM.fullmatch(path.stem)]
    for path in paths:
        if path not in named:
            log.warning("%s is left out: a page is named with letters, digits, - and _", path)
    for path in named[MAX_PAGES:]:
        log.warning("%s is left out: there are more than %d pages", path, MAX_PAGES)
    yield from named[:MAX_PAGES]


def add_routes(app: FastAPI, folder: Path) -> None:
    """Browser code beside the pages: the functions of their own components."""

    @needs(Role.VIEWER)
    def module(name: str) -> Response:
        if not MODULE.fullmatch(name):
            raise NotFound(
                f"no file {name!r}: browser code of a page is named with letters, digits, - and _, and ends with .js or .css"
            )
        try:
            text = _text(folder / name)
        except FileNotFoundError:
            raise NotFound(f"no file {name} in the folder of --pages-dir") from None
        except BrokenPage as error:
            raise NotFound(str(error)) from None
        except OSError as error:
            raise NotFound(f"{name} cannot be read: {error.strerror}") from None
        return Response(text, media_type=MEDIA_TYPES[name.rpartition(".")[2]], headers={"Cache-Control": "no-cache"})

    app.add_api_route(f"{MODULES_PREFIX}{{name}}", module, include_in_schema=False)


def _code(path: Path) -> CodeType:
    """Raises BrokenPage, OSError, SyntaxError."""
    return compile(_text(path), str(path), "exec", dont_inherit=True)


def _text(path: Path) -> bytes:
    """What was checked is what is read: one open file. Raises BrokenPage, OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BrokenPage(f"{path.name} is no regular file")
        if why := _not_ours(status):
            raise BrokenPage(f"{path.name} {why}; it is not run")
        text = file.read(MAX_BYTES + 1)
    if len(text) > MAX_BYTES:
        raise BrokenPage(f"{path.name} has more than {MAX_BYTES:,} bytes; keep data in a file of its own")
    return text


def _not_ours(status: os.stat_result) -> str:
    if status.st_uid not in (os.geteuid(), 0):
        return "belongs to another user"
    return "can be written by others (chmod go-w makes it yours alone)" if status.st_mode & BY_OTHERS else ""


def _tried(path: Path, call: Callable[[], Any]) -> tuple[Any, str]:
    """What it returns, and "": whatever it raises becomes the page's sentence."""
    try:
        return call(), ""
    except (Exception, SystemExit) as error:
        if isinstance(error, BrokenPage):
            return None, str(error)
        log.warning("%s failed", path, exc_info=error)
        return None, _said(path, error)


def _check_shown(name: str, made: Any) -> None:
    """Raises BrokenPage, or TypeError, for what would be an empty page: Dash cannot send it, or the browser cannot show it."""
    from dash.development.base_component import Component
    from plotly.io.json import to_json_plotly

    for item in made if isinstance(made, list | tuple) else [made]:
        if not isinstance(item, Component | str | int | float):
            raise BrokenPage(
                f"the layout of {name} is of type {type(item).__name__}; it is a Dash component, such as dcc.Graph(figure=...)"
            )
    to_json_plotly(made)


def _register(dash: Dash, register: Callable[[], Any]) -> None:
    """Callbacks that are registered; none of them where one fills what another page's callback fills. Raises BrokenPage."""
    listed, known = list(dash._callback_list), dict(dash.callback_map)
    filled = {part for output in known for part in _outputs(output)}
    try:
        register()
        more = [part for callback in dash._callback_list[len(listed) :] for part in _outputs(str(callback["output"]))]
        if taken := sorted(part for part in more if part in filled):
            raise BrokenPage(f"the callback of {taken[0]} is another page's; give the component another id")
    except BaseException:
        dash._callback_list[:] = listed
        dash.callback_map.clear()
        dash.callback_map.update(known)
        raise


def _outputs(output: str) -> list[str]:
    """`..a.children...b.value.. -> [a.children, b.value]`"""
    return output.strip(".").split("...")


def _said(path: Path, error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = (
        error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else lines[-1] if lines else None
    )
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_CHARS]
    return f"{path.name} cannot be shown{f', line {line}' if line else ''}: {reason}"
