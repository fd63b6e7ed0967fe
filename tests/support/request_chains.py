"""The requests of a page as the browser reports them, and how many of them wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.sync_api import Page

DATA = ("Fetch", "XHR", "WebSocket", "EventSource")  # asked by scripts, which may use what came before

LANES = "Object.values(deepseekPainted?.drawn ?? {}).filter(({ count }) => count > 0).map(({ at }) => at - performance.timeOrigin)[0]"  # are drawn
WATCH = """() => {
  const look = () => {
    const { deepseekPainted } = globalThis;
    const drawn = %s;
    if (drawn) globalThis.drawn_ms ??= typeof drawn === "number" ? drawn : performance.now();
    else requestAnimationFrame(look);
  };
  look();
}"""


class Asked(NamedTuple):
    """A request that went over the line. Times are seconds on the browser's monotonic clock; a socket is answered by its first message."""

    path: str
    kind: str  # of the DevTools protocol
    at_s: float
    answered_s: float  # infinite while it is under way
    by: str  # address of what asked: a page or a module
    scripts: frozenset[str]  # addresses of all that had a part in asking; none where the HTML asked
    size_bytes: int


def watch(page: Page, drawn: str) -> None:
    """Before it is opened: `drawn_ms` of the page becomes when this expression of the browser was true first, or the number that it is."""
    page.add_init_script(f"({WATCH % drawn})()")


class Requests:
    """All requests of a page from now on; without those that the browser's cache answers."""

    def __init__(self, page: Page) -> None:
        self._asked: dict[str, dict[str, Any]] = {}
        session = page.context.new_cdp_session(page)
        for name, hear in self._hears().items():
            session.on(f"Network.{name}", hear)
        session.send("Network.enable")

    def _hears(self) -> dict[str, Callable[[dict[str, Any]], None]]:
        def asked(event: dict[str, Any]) -> None:
            url = event["request"]["url"]
            if url.startswith("http"):
                self._asked[event["requestId"]] = {
                    "url": url,
                    "kind": event.get("type", "Other"),
                    "at": event["timestamp"],
                    "stack": _stack(event["initiator"]),
                    "by": event["initiator"].get("url", ""),
                }

        def opened(event: dict[str, Any]) -> None:
            initiator = event.get("initiator", {})
            self._asked[event["requestId"]] = {
                "url": event["url"],
                "kind": "WebSocket",
                "by": "",
                "stack": _stack(initiator),
            }

        def greeted(event: dict[str, Any]) -> None:
            self._change(event, at=event["timestamp"])

        def answered(event: dict[str, Any]) -> None:
            self._change(event, answered=event["timestamp"], size=event.get("encodedDataLength", 0))

        def said(event: dict[str, Any]) -> None:
            if "answered" not in self._asked.get(event["requestId"], {"answered": 0}):
                self._change(event, answered=event["timestamp"])

        def received(event: dict[str, Any]) -> None:
            response = event["response"]
            if response.get("fromDiskCache") or response.get("fromPrefetchCache"):
                self._asked.pop(event["requestId"], None)
            elif response["mimeType"] == "application/json":  # a preload has no kind
                self._change(event, kind="Fetch")

        def kept(event: dict[str, Any]) -> None:
            self._asked.pop(event["requestId"], None)

        return {
            "requestWillBeSent": asked,
            "webSocketCreated": opened,
            "webSocketWillSendHandshakeRequest": greeted,
            "webSocketFrameReceived": said,
            "loadingFinished": answered,
            "loadingFailed": answered,
            "responseReceived": received,
            "requestServedFromCache": kept,
        }

    def _change(self, event: dict[str, Any], **found: object) -> None:
        if (row := self._asked.get(event["requestId"])) is not None:
            row.update(found)

    def forget(self) -> None:
        self._asked.clear()

    def seen(self, within_s: float = float("inf")) -> list[Asked]:
        """In the order in which they were asked; those that were answered within the page's first seconds."""
        rows = [row for row in self._asked.values() if "at" in row]
        asked = [_asked(row) for row in rows]
        asked.sort(key=lambda request: request.at_s)
        return [request for request in asked if request.answered_s <= asked[0].at_s + within_s]


def longest_chain(requests: list[Asked]) -> list[Asked]:
    """The most requests of which each waits for the one before.

    A request waits for what asked for it: its page, or the module that sent it. One that a script sent waits as well for all data that had
    arrived before, where the HTML or the same script asked for them: it may use them. So this is never less than what is needed. What the cache
    has sent stands for the page.
    """
    chains: list[list[Asked]] = []
    for request in requests:
        before = [chain for chain in chains if chain[-1].path == request.by or _may_use(request, chain[-1])]
        chains.append([*max(before, key=len, default=chains[0] if chains else []), request])
    return max(chains, key=len, default=[])


def _may_use(request: Asked, data: Asked) -> bool:
    shared = not data.scripts or bool(request.scripts & data.scripts)
    return request.kind in DATA and data.kind in DATA and data.answered_s <= request.at_s and shared


def shown(chain: list[Asked]) -> str:
    return " -> ".join(urlsplit(request.path).path for request in chain)


def _path(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _asked(row: dict[str, Any]) -> Asked:
    scripts = [_path(url) for url in row["stack"]]
    by = scripts[0] if scripts else _path(row["by"])
    return Asked(
        _path(row["url"]),
        row["kind"],
        row["at"],
        row.get("answered", float("inf")),
        by,
        frozenset(scripts),
        int(row.get("size", 0)),
    )


def _stack(initiator: dict[str, Any]) -> list[str]:
    """Addresses of the scripts that asked, the innermost first."""
    found: list[str] = []
    stack = initiator.get("stack")
    while stack:
        found += [frame["url"] for frame in stack["callFrames"] if frame["url"]]
        stack = stack.get("parent")
    return found
