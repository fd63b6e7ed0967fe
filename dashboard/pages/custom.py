"""Pages of one's own: Python files of the folder that `--pages-dir` names, run as the dashboard is."""

from __future__ import annotations

import inspect
import logging
import os
import re
import stat
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Response

from access.roles import Role, needs

from ..colours import own_template
from ..queries import NotFound
from .page import OF_DASH, Page

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
RULE_OF_MODULES = "browser code of a page is named with letters, digits, - and _, and ends with .js or .css"
OURS = frozenset({"deepseek", "dash_html_components"})  # namespaces of components that are always there
BUILT_IN = ("deepseek.dashboard.components", "dash.html", "dash.dcc", "dash_ag_grid")  # as a sentence names them

log = logging.getLogger(__name__)


class BrokenPage(Exception):
    """Why a file is no page: one sentence."""


class CustomPage:
    """A file with `layout`, a component or a function that makes one, and perhaps `callbacks(dash, queries)`, NAME and PACKAGES.

    What is wrong with it stands on its page, and costs no other.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._filled: dict[str, str] = {}  # which file fills an output; that of all pages of one folder
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
            if package not in OF_DASH:
                import_module(package)
        self._scope = scope

    def sharing(self, filled: dict[str, str]) -> CustomPage:
        """With the other pages of its folder."""
        self._filled = filled
        return self

    def _layout(self, **query: Any) -> Any:
        """Made at each visit: one that failed, as on a log folder without runs, is tried again at the next."""
        from dash import html

        made, trouble = (None, self._trouble) if self._trouble else _tried(self._path, lambda: self._made(query))
        return html.Div(html.P(trouble, className="warn", role="alert") if trouble else made, className="own-page")

    def _made(self, query: Mapping[str, Any]) -> Any:
        made = self._scope["layout"]
        if callable(made):
            made = _called(made, self._queries, query)
        _check_shown(self._path.name, made)
        return made

    def _callbacks(self, dash: Dash, queries: Queries) -> None:
        self._queries = queries
        register = self._scope.get("callbacks")
        if register is not None and not self._trouble:
            _, self._trouble = _tried(
                self._path, lambda: _register(dash, lambda: register(dash, queries), self._path.name, self._filled)
            )


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
    if any(b"plotly" in _beginning(path) for path in folder.glob("*.py")):
        _draw_figures_in_our_colours()
    filled: dict[str, str] = {}
    found = [CustomPage(path).sharing(filled).page for path in _named(paths)]
    shared = {name for name, count in Counter(page.name.casefold() for page in found).items() if count > 1}
    return tuple(
        page._replace(name=f"{page.name} ({page.path.removeprefix(PREFIX)})")
        if page.name.casefold() in shared
        else page
        for page in found
    )


def missing(path: str) -> Page | None:
    """What is shown at a path where a page of one's own would be; None for a path of ours."""
    if not path.startswith(PREFIX):
        return None

    def layout(**_: Any) -> Any:
        from dash import html

        said = f"There is no page {path}. The menu lists all pages; each is a Python file of the folder of --pages-dir."
        return html.Div([html.H1("No such page"), html.P(said, role="alert")], className="own-page")

    return Page("", "No such page", path, layout)


def _beginning(path: Path) -> bytes:
    """b"" of a file that is none of ours: whoever reads it later says why."""
    try:
        return _text(path)
    except (BrokenPage, OSError):
        return b""


def _draw_figures_in_our_colours() -> None:
    """Plotly's default template is ours from now on. Where no page names Plotly, that would only cost its import."""
    import plotly.graph_objects as go
    import plotly.io

    plotly.io.templates["deepseek"] = go.layout.Template(own_template())
    plotly.io.templates.default = "deepseek"


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
            raise NotFound(f"no file {name!r}: {RULE_OF_MODULES}")
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
        said = str(error) if isinstance(error, BrokenPage) else _said(path, error)
        log.warning("%s", said, exc_info=None if isinstance(error, BrokenPage) else error)
        return None, said


def _called(layout: Callable[..., Any], queries: Queries | None, query: Mapping[str, Any]) -> Any:
    """`layout()`, `layout(queries)`, `layout(queries, layer="0")`, `layout(queries, **query)`: the parameters of the address that it takes."""
    parameters = [*inspect.signature(layout).parameters.values()]
    ordered = [one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    named = {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    named -= {one.name for one in ordered[:1]}
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters)
    first = {one.name for one in ordered[:1]}
    given = {name: value for name, value in query.items() if name in named or (takes_all and name not in first)}
    return layout(*([queries] if ordered else []), **given)


def _check_shown(name: str, made: Any) -> None:
    """Raises BrokenPage, or TypeError, for what would be an empty page: Dash cannot send it, or the browser cannot show it."""
    from dash.development.base_component import Component
    from plotly.io.json import to_json_plotly

    for item in made if isinstance(made, list | tuple) else [made]:
        if not isinstance(item, Component | str | int | float):
            raise BrokenPage(
                f"the layout of {name} is of type {type(item).__name__}; it is a Dash component, such as dcc.Graph(figure=...)"
            )
        for part in [item, *item._traverse()] if isinstance(item, Component) else []:
            if isinstance(part, Component) and part._namespace not in OURS | _served:
                raise BrokenPage(_not_served(name, part))
    to_json_plotly(made)


_served = frozenset(OF_DASH) | {"dash_ag_grid"}  # packages of other components that the browser can load


def serve(imported: Iterable[str]) -> None:
    """Components of these packages can be shown, beside Dash's own: those that are imported when the application is made."""
    global _served
    _served = frozenset({*OF_DASH, "dash_ag_grid", *(name for name in imported if "." not in name)})


def served() -> frozenset[str]:
    return _served


def _not_served(name: str, part: Any) -> str:
    return (
        f"{name} lays out {type(part).__name__} of the package {part._namespace}, which the browser has no code of: "
        f'import the package at the top of the file and name it, PACKAGES = ("{part._namespace}",). '
        f"Without that there are the components of {', '.join(BUILT_IN[:-1])} and {BUILT_IN[-1]}"
    )


def _register(dash: Dash, register: Callable[[], Any], name: str, filled: dict[str, str]) -> None:
    """Callbacks that are registered; none of them where one fills what another page's callback fills. Raises BrokenPage."""
    listed, known = list(dash._callback_list), dict(dash.callback_map)
    ours = {part for output in known for part in _outputs(output)}
    try:
        register()
        more = [part for callback in dash._callback_list[len(listed) :] for part in _outputs(str(callback["output"]))]
        if taken := sorted(part for part in more if part in ours):
            other = filled.get(taken[0], "the dashboard itself")
            raise BrokenPage(
                f"{name} and {other} both fill {taken[0]}: ids are unique among all pages; give the component of {name} another id"
            )
    except BaseException:
        dash._callback_list[:] = listed
        dash.callback_map.clear()
        dash.callback_map.update(known)
        raise
    filled.update(dict.fromkeys(more, name))


def _outputs(output: str) -> list[str]:
    """`..a.children...b.value.. -> [a.children, b.value]`"""
    return output.strip(".").split("...")


def _said(path: Path, error: BaseException) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = (
        error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else lines[-1] if lines else None
    )
    return f"{path.name} cannot be shown{f', line {line}' if line else ''}: {reason_of(error)}"


def reason_of(error: BaseException) -> str:
    """`ValueError: no such layer`, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:MAX_CHARS]
