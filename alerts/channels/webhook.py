"""POST a JSON document."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ..config import web_address
from ..messages import AlertMessage
from .sent import AGENT, TIMEOUT_S, NotDelivered, fields_of

SAME = (307, 308)  # redirects that keep the method


def send(values: Mapping[str, str], message: AlertMessage) -> None:
    """Raises NotDelivered."""
    post(values["url"], fields_of(message), message.id, values.get("authorization", ""))


def post(url: str, document: Mapping[str, Any], id_: str, authorization: str = "") -> None:
    """A repetition has the same `Idempotency-Key`. Follows no redirect to another host. Raises NotDelivered."""
    if web_address(url) is None:
        raise NotDelivered("its url is no address such as https://example.org/hook")
    headers = {"Content-Type": "application/json", "User-Agent": AGENT, "Idempotency-Key": id_}
    if authorization:
        headers["Authorization"] = authorization
    try:
        request = urllib.request.Request(url, written(document), headers, method="POST")
        with urllib.request.build_opener(_SameHost).open(request, timeout=TIMEOUT_S):
            pass  # its status is the answer, whatever becomes of the rest
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
        raise NotDelivered(f"it answers {status}", dead=status >= 500 or status in (401, 403, 404, 408, 429)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotDelivered(_reason(error), dead=True) from None


def written(document: Mapping[str, Any]) -> bytes:
    """As it is sent: JSON of ASCII."""
    return json.dumps(document).encode()


class _SameHost(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if code not in SAME or (before.scheme, before.netloc) != (after.scheme, after.netloc):
            return None  # the answer is the redirect itself: not delivered
        return urllib.request.Request(newurl, req.data, dict(req.header_items()), method="POST")


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return f"it did not answer within {TIMEOUT_S:g} s"
    if isinstance(inner, OSError) and inner.strerror:
        return f"it cannot be reached ({inner.strerror})"
    return f"it cannot be reached ({type(inner).__name__})"
