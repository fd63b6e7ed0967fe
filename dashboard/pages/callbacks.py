"""Dash's callbacks over HTTP: requests are checked before Dash sees them, and no callback delays the live socket."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, get_type_hints

import orjson
from dash.backends._fastapi import reset_current_request, set_current_request
from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from access.roles import Role
from collectors.records import Public

from ..api.answers import dumps, json_response
from ..queries import BadRequest
from ..viewing import searched_data
from ..visitors import NotGranted, sees_all, visitor

if TYPE_CHECKING:
    from .frame import DashboardApp

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


def route(dash: DashboardApp) -> Callable[[Request], Awaitable[Response]]:
    """Replaces Dash's own route of the same path, which returns 500 for unexpected requests."""
    dispatch = dash.backend.serve_callback(dash)

    async def answer(request: Request) -> Response:
        _check(request.state.json_body, dash)  # Dash has read it, None where it is no JSON
        token = set_current_request(request)
        try:
            context = contextvars.copy_context()
            answered: Response = await run_in_threadpool(
                context.run, asyncio.run, dispatch(request)
            )  # Dash would work on the event loop
            return answered if sees_all() else await run_in_threadpool(_for_viewer, answered)
        except Exception as error:  # of a callback: what it was asked with is the browser's
            log.exception("a callback failed")
            raise BadRequest(
                f"the page's callback failed ({type(error).__name__}); the dashboard's output says where"
            ) from error
        finally:
            reset_current_request(token)

    return answer


def _for_viewer(answered: Response) -> Response:
    """Without what is not for viewers: callbacks answer past the API's encoding."""
    try:
        value = orjson.loads(answered.body)
    except orjson.JSONDecodeError:  # no answer: nothing to update
        return answered
    return json_response(dumps(searched_data(value, STRUCTURE)), answered.status_code)


def _check(body: Any, dash: DashboardApp) -> None:
    """Raises BadRequest for requests that our pages do not send, NotGranted for callbacks of pages that a viewer does not get."""
    if not isinstance(body, dict) or body.get("output") not in dash.callback_map:
        raise BadRequest("this is not a callback of a page; reload the page")
    if body["output"] in dash.owners_callbacks and visitor().role is not Role.OWNER:
        raise NotGranted("this page is the owner's")
    known = dash.callback_map[body["output"]]
    if "callback" not in known:
        raise BadRequest("the browser does this itself; reload the page")
    for name, wanted in (("inputs", known["inputs"]), ("state", known["state"])):
        sent = body.get(name, [])
        if (
            not isinstance(sent, list)
            or len(sent) != len(wanted)
            or not all(_is(*pair) for pair in zip(sent, wanted, strict=True))
        ):
            raise BadRequest(f"{name} is not what this callback takes; reload the page")
    changed = body.get("changedPropIds", [])
    if not isinstance(changed, list) or not all(isinstance(name, str) for name in changed):
        raise BadRequest("changedPropIds is a list of names")
    outputs = body.get("outputs")
    if not isinstance(outputs, dict | list):
        raise BadRequest("outputs names what the callback fills")


def _is(sent: Any, wanted: dict[str, Any]) -> bool:
    return isinstance(sent, dict) and (sent.get("id"), sent.get("property")) == (wanted["id"], wanted["property"])
