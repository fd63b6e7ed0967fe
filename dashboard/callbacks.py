"""What Dash answers: layouts and callbacks. What a browser sends is checked before Dash sees it, and nothing holds the event loop."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import orjson
from dash.backends._fastapi import reset_current_request, set_current_request
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from access.roles import Role
from collectors.records import Public

from .api.answers import dumps, json_response
from .pages.custom import reason_of
from .viewing import searched_data
from .visitors import sees_all, visitor

if TYPE_CHECKING:
    from dash import Dash
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALLBACK, LAYOUT, DEPENDENCIES = "/_dash-update-component", "/_dash-layout", "/_dash-dependencies"
KEPT_S = 10  # `assets/shell.js` asks for them early, and Dash asks again
OWNERS = "this page is the owner's"
FAILED = "A part of this page has failed. What it shows is old; the owner's terminal says why."

log = logging.getLogger(__name__)


class Structure(TypedDict, total=False):
    """What in Dash's JSON is no text: the names by which the browser finds components and styles, addresses, and packed numbers."""

    namespace: Public
    type: Public
    id: Public
    component: Public
    property: Public
    prop_id: Public
    className: Public
    key: Public
    href: Public
    dtype: Public
    bdata: Public
    run: Public  # of a row of a table: the page asks for it again
    series: Public


STRUCTURE = frozenset(get_type_hints(Structure))


class CallbackMiddleware:
    """ASGI middleware, next to Dash: it answers what our pages do not send with 400, and runs the rest in a thread with a loop of its own.

    Dash runs layouts and synchronous callbacks on the loop that it is asked on. Of what they answer, viewers get what they get of the API.
    """

    def __init__(self, app: ASGIApp, dash: Dash, owners: frozenset[str]) -> None:
        """`owners`: outputs that only the owner's pages have."""
        self._app, self._dash, self._owners = app, dash, owners
        self._dispatch = dash.backend.serve_callback(dash)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = (scope["method"], scope["path"]) if scope["type"] == "http" else None
        if asked == ("POST", CALLBACK):
            body = _parsed(await _body_of(receive))
            status, sentence = self._refusal(body)
            if sentence:
                response: Response = JSONResponse({"error": sentence}, status)
            else:
                function = self._dash.callback_map[body["output"]]["callback"]
                response = await self._answer(self._called(Request(scope, receive), body), function)
        elif asked in (("GET", LAYOUT), ("GET", DEPENDENCIES)):
            response = await self._answer(lambda: self._asked(scope))
            response.headers["Cache-Control"] = f"private, max-age={KEPT_S}"
            response.headers["Vary"] = "Referer"
        else:
            await self._app(scope, receive, send)
            return
        await response(scope, receive, send)

    async def _answer(self, work: Callable[[], Coroutine[Any, Any, Response]], function: Any = None) -> Response:
        """In a thread with a loop of its own. `function` is the callback that is called."""
        context = contextvars.copy_context()
        try:
            answered = await run_in_threadpool(context.run, lambda: asyncio.run(work()))
        except Exception as error:  # of a callback, or of a layout: what it was asked with is the browser's
            said = f"{where_of(error, function)}{reason_of(error)}"
            log.error("%s", said, exc_info=error)
            return JSONResponse({"error": said if visitor().role is Role.OWNER else FAILED}, 400)
        return answered if sees_all() else await run_in_threadpool(_for_viewer, answered)

    def _called(self, request: Request, body: Any) -> Callable[[], Coroutine[Any, Any, Response]]:
        """A callback, past Dash's own middleware, which would keep its errors to itself."""

        async def call() -> Response:
            request.state.json_body = body
            token = set_current_request(request)
            try:
                return await self._dispatch(request)  # type: ignore[no-any-return]
            finally:
                reset_current_request(token)

        return call

    async def _asked(self, scope: Scope) -> Response:
        """What the application answers to a question without a body."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        response = Response(b"".join(message.get("body", b"") for message in sent), sent[0]["status"])
        response.raw_headers = list(sent[0]["headers"])
        return response

    def _refusal(self, asked: Any) -> tuple[int, str]:
        """Status and sentence for what our pages do not send, and for callbacks of pages that a viewer does not get; "" for neither."""
        output = asked.get("output") if isinstance(asked, dict) else None
        known = self._dash.callback_map.get(output) if isinstance(output, str) else None
        if known is None:
            return 400, "this is not a callback of a page; reload the page"
        if output in self._owners and visitor().role is not Role.OWNER:
            return 403, OWNERS
        return 400, _fault_of(asked, known)


def where_of(error: BaseException, function: Any) -> str:
    """`more.py, line 23: `: the innermost line of a file beside the callback's, else where the callback begins."""
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(inspect.unwrap(function), "__code__", None) if function else None
    folder = Path(code.co_filename).parent if code else None
    own = [(frame.filename, frame.lineno) for frame in frames if Path(frame.filename).parent == folder]
    if code and not own:
        own = [(code.co_filename, code.co_firstlineno)]
    return f"{Path(own[-1][0]).name}, line {own[-1][1]}: " if own else ""


def _parsed(body: bytes) -> Any:
    """None for what is not JSON."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _fault_of(asked: dict[str, Any], known: dict[str, Any]) -> str:
    if "callback" not in known:
        return "the browser does this itself; reload the page"
    for name, wanted in (("inputs", known["inputs"]), ("state", known["state"])):
        sent = asked.get(name, [])
        if (
            not isinstance(sent, list)
            or len(sent) != len(wanted)
            or not all(_is(*pair) for pair in zip(sent, wanted, strict=True))
        ):
            return f"{name} is not what this callback takes; reload the page"
    changed = asked.get("changedPropIds", [])
    if not isinstance(changed, list) or not all(isinstance(name, str) for name in changed):
        return "changedPropIds is a list of names"
    return "" if isinstance(asked.get("outputs"), dict | list) else "outputs names what the callback fills"


def _is(sent: Any, wanted: dict[str, Any]) -> bool:
    return isinstance(sent, dict) and (sent.get("id"), sent.get("property")) == (wanted["id"], wanted["property"])


async def _body_of(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _for_viewer(answered: Response) -> Response:
    """Without what is not for viewers: callbacks answer past the API's encoding."""
    value = _parsed(bytes(answered.body))
    return answered if value is None else json_response(dumps(searched_data(value, STRUCTURE)), answered.status_code)
