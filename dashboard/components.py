"""The Dash components of the dashboard: each is a function of `assets/modules.js` of the same name.

Live data go from the socket to the canvas, and no callback is in between; what a user selects comes out as a property.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from numbers import Real
from typing import Any, Literal

from dash.development.base_component import Component, ComponentRegistry

from .component_data import chart_data, flame_data

_ASSETS = import_module(
    f"{__name__.removesuffix('dashboard.components')}assets"
).__name__  # in a wheel `deepseek.assets`
_js_dist = [
    {"relative_package_path": "components.js", "namespace": _ASSETS},
    {"relative_package_path": "built/modules.js", "namespace": _ASSETS, "dynamic": True},
    {
        "relative_package_path": "built/modules.css",
        "namespace": _ASSETS,
        "dynamic": True,
    },  # inside the components' shadow
]
ComponentRegistry.registry.add(__name__)


class BrowserComponent(Component):  # type: ignore[misc]  # Dash has no types
    """The base: its properties are the arguments of the class."""

    _namespace = "deepseek"
    _children_props: tuple[str, ...] = ()
    _base_nodes = ("children",)
    _valid_wildcard_attributes: tuple[str, ...] = ()

    def __init__(self, **given: Any) -> None:
        self._type = type(self).__name__
        self._prop_names = self.available_properties = [
            *given,
            *(name for name in inspect.signature(type(self).__init__).parameters if name not in ("self", *given)),
        ]
        self.available_wildcard_properties: list[str] = []
        super().__init__(**{name: value for name, value in given.items() if value is not None})


class TimeChart(BrowserComponent):
    """Curves over time: a lane for each series, a line for each run, which follow the newest point.

    On a page of the dashboard it shows the dashboard's own runs, and all charts of the page share their axis and its range. In any other
    Dash app it draws `data`, or the runs of the dashboard whose address is `source` (docs/components.md).

    `window` comes out: `{"from": 1.0, "to": 2.0}` in Unix seconds or steps where a user has dragged, None where nothing is selected. Set,
    it selects that window.
    """

    data_of = staticmethod(chart_data)

    def __init__(
        self,
        id: str | None = None,
        runs: Sequence[str] | str = (),
        series: Sequence[str] | str = (),
        axis: Literal["time", "step"] = "time",
        window: Mapping[str, float] | None = None,
        data: Any = None,
        source: str | None = None,
        token: str | None = None,
        style: Mapping[str, Any] | None = None,
        className: str = "time-chart",
    ) -> None:
        """`runs` without a name shows the run that is selected on the page, of a `source` the newest. `data` is what `data_of` takes; a
        callback that sets it returns `TimeChart.data_of(frame)`. `token` is a viewer's: whoever sees the app can read it."""
        if axis not in ("time", "step"):
            raise ValueError(f"axis is {axis!r}; a TimeChart has the axis 'time' or 'step'")
        super().__init__(
            id=id,
            runs=_names("runs", runs),
            series=_names("series", series),
            axis=axis,
            window=_window(window),
            data=None if data is None else chart_data(data),
            source=source,
            token=token,
            style=style,
            className=className,
        )


def _names(what: str, given: Sequence[str] | str) -> list[str]:
    """Raises ValueError."""
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{what} is {given!r}; pass a name, or a list of names")
    return names


def _window(given: Mapping[str, float] | None) -> dict[str, float] | None:
    """Raises ValueError."""
    if given is None:
        return None
    ends: list[Any] = [given.get("from"), given.get("to")] if isinstance(given, Mapping) else []
    known = [float(end) for end in ends if isinstance(end, Real) and math.isfinite(float(end))]
    if len(known) != 2 or not known[0] < known[1]:
        raise ValueError(f'window is {given!r}; pass {{"from": 1.0, "to": 2.0}} on the axis, or None')
    return dict(zip(("from", "to"), known, strict=True))


class FlameGraph(BrowserComponent):
    """The Python stacks of a window as a flame graph: of `data`, of a run of the dashboard whose address is `source`, or, on a page of the
    dashboard, of a run of its own.

    `selected` comes out when a user selects a frame: `{"name", "file", "line", "share", "self_s", "total_s"}`.
    """

    data_of = staticmethod(flame_data)

    def __init__(
        self,
        id: str | None = None,
        run: str | None = None,
        window: Mapping[str, float] | None = None,
        baseline: str = "normal",
        selected: Mapping[str, Any] | None = None,
        data: Any = None,
        source: str | None = None,
        token: str | None = None,
        style: Mapping[str, Any] | None = None,
        className: str = "flame-graph",
    ) -> None:
        """Without `run` the one that is selected on the page, of a `source` the newest; without `window` all of it until it is shown. `data` is what `data_of` takes; a callback that sets it
        returns `FlameGraph.data_of(graph)`. `baseline` is that of the API's `/flame`, "" for none."""
        super().__init__(
            id=id,
            run=run,
            window=_window(window),
            baseline=baseline,
            selected=selected,
            data=None if data is None else flame_data(data),
            source=source,
            token=token,
            style=style,
            className=className,
        )


class OwnComponent(BrowserComponent):
    """The base of components of a page of one's own: the function of the same name in `module`, a JavaScript file beside the page.

    What its constructor is given by name are the properties that the function gets. Sending them back is up to it.
    """

    module = ""

    def __init__(self, **given: Any) -> None:
        super().__init__(module=self.module, component=type(self).__name__, **given)
        self._type = OwnComponent.__name__


class Address(BrowserComponent):
    """Which page the browser shows, for the router: `dcc.Location` would have the first picture wait for all of `dcc`."""

    def __init__(self, id: str | None = None, pathname: str | None = None, search: str | None = None) -> None:
        super().__init__(id=id, pathname=pathname, search=search)


class Selection(BrowserComponent):
    """`data` comes out: `{"run", "runs", "axis", "from", "to", "live"}`, what is selected on the page."""

    def __init__(self, id: str | None = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(id=id, data=data)


class PagePart(BrowserComponent):
    """A part of one of our own pages, which its view in `assets/pages/` draws."""

    def __init__(self, id: str | None = None, className: str = "page-part") -> None:
        super().__init__(id=id, className=className)


class LiveView(PagePart):
    """The Live page of the selected run: its lanes, what Python did in a window of them, and the log."""


class FlameView(PagePart):
    """The flame graph of the selected run, or of a window, beside a baseline."""


class GpusView(PagePart):
    """The cards of this host, or the host itself, and their processes."""


class BoardsView(PagePart):
    """A board, live, and its editor."""


class SamplesView(PagePart):
    """What a run logged to be looked at, beside another one's."""


class JobsView(PagePart):
    """The queue and its slots over time."""


class RunsHead(PagePart):
    """The tools above the table of runs; the view also fills that table."""


class RunsCompared(PagePart):
    """The head of the comparison: the ticked runs with their values, and where else they can be compared."""


class RunsCurves(BrowserComponent):
    """One metric of the ticked runs, a line for each."""

    def __init__(
        self,
        id: str | None = None,
        metrics: Sequence[Mapping[str, Any]] | None = None,
        className: str = "page-part",
    ) -> None:
        """Of each metric `{"title", "names"}`: the series that measure it. The first is shown unless a user chooses another."""
        super().__init__(id=id, metrics=metrics, className=className)


class AlertsActive(PagePart):
    """What fires, what happened in the last day, and the evidence of the selected one."""


class AlertsEditor(PagePart):
    """Rules and channels as text."""


class AlertChange(BrowserComponent):
    """Sends a change of rules or channels once for each new `press`, with the secrets that are typed beside it."""

    def __init__(
        self, id: str | None = None, path: str = "", body: Mapping[str, Any] | None = None, press: str = ""
    ) -> None:
        super().__init__(id=id, path=path, body=body, press=press)


class SecretField(BrowserComponent):
    """A secret that is typed and never shown: it goes from here to the API, and through no callback."""

    def __init__(self, id: str | None = None, name: str = "", label: str = "", isSet: bool = False) -> None:
        super().__init__(id=id, name=name, label=label, isSet=isSet)


class Moment(BrowserComponent):
    """A time, in Unix seconds, in the browser's zone."""

    def __init__(self, id: str | None = None, time_s: float = 0.0, className: str = "dim") -> None:
        super().__init__(id=id, time_s=time_s, className=className)


class RulePreview(BrowserComponent):
    """Curves of runs over time, and marks where a rule would have fired."""

    def __init__(
        self,
        id: str | None = None,
        title: str = "",
        curves: Sequence[Mapping[str, Any]] = (),
        firings: Sequence[Mapping[str, Any]] = (),
        limit: float | None = None,
        className: str = "rule-preview",
    ) -> None:
        """Curves are `{"run", "t", "v"}`, firings `{"run", "t", "v"}` of a moment; `limit` is a line across."""
        super().__init__(
            id=id, title=title, curves=list(curves), firings=list(firings), limit=limit, className=className
        )


class DesktopChoice(PagePart):
    """Whether this browser shows alerts."""


class RunNotify(BrowserComponent):
    """A button: which channels hear that a run crashed or finished."""

    def __init__(self, id: str | None = None, run: str = "") -> None:
        super().__init__(id=id, run=run)


class RunProvenance(PagePart):
    """What ran: command, commit, packages."""


class RunShares(PagePart):
    """Where the time of a whole run went."""


class RunFilling(BrowserComponent):
    """Tells the view of the Runs page that a callback has filled the panel beside the table."""

    def __init__(self, id: str | None = None, run: str | None = None, filling: str = "") -> None:
        super().__init__(id=id, run=run, filling=filling)


class TrainingCharts(BrowserComponent):
    """Every series of some runs as a chart, however many there are."""

    def __init__(
        self, id: str | None = None, view: Mapping[str, Any] | None = None, className: str = "chart-grid"
    ) -> None:
        """`view` is what is shown, as in `assets/curves/training_view.js`; without one, what the address says."""
        super().__init__(id=id, view=view, className=className)


class LogView(BrowserComponent):
    """The lines of a run, or of all runs, over time."""

    def __init__(
        self, id: str | None = None, view: Mapping[str, Any] | None = None, className: str = "logs-place"
    ) -> None:
        """`view` is what is shown, as in `assets/logs/logs_view.js`; without one, what the address says."""
        super().__init__(id=id, view=view, className=className)
