"""Login: the form, its code, and the session cookie."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from html import escape
from http import HTTPStatus
from urllib.parse import parse_qs, quote, unquote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from access.files import Unwritable
from access.hosts import Access, RawHeaders, host_of
from access.peers import PEER
from access.roles import Role, needs
from access.tokens import SECRET, DamagedTokens, LogInLimit, TokenMistake, Tokens

from ..network import path_to
from .audit import Audit
from .visitors import visitor, without_details

MOST = 8  # are looked at


def cookie_name(headers: RawHeaders, base_path: str = "/") -> str:
    """`deepseek-8080`: of the port in Host, which an SSH tunnel may have changed; with a base path also `deepseek-8080-1a2b3c4d`."""
    host = host_of(headers)
    port = host[1] if host and host[1] else "default"
    path = "" if base_path == "/" else f"-{hashlib.sha256(base_path.encode()).hexdigest()[:8]}"
    return f"deepseek-{port}{path}"


def cookies_of(headers: RawHeaders, base_path: str = "/") -> list[str]:
    """Secrets of sessions, in the order of the header: another program on the host may have set a cookie of our name. What has another form is passed over."""
    name = f"{cookie_name(headers, base_path)}="
    parts = (part.strip() for key, value in headers if key == b"cookie" for part in value.decode("latin-1").split(";"))
    secrets = (part.removeprefix(name) for part in parts if part.startswith(name))
    return [secret for secret in secrets if SECRET.fullmatch(secret)][:MOST]


def set_cookie(headers: RawHeaders, secret: str, seconds: float, *, base_path: str = "/", secure: bool = False) -> str:
    """The value of a Set-Cookie header; without a secret the cookie is deleted."""
    words = [
        f"{cookie_name(headers, base_path)}={secret}",
        f"Path={base_path}",
        f"Max-Age={max(0, int(seconds))}",
        "HttpOnly",
        "SameSite=Lax",
    ]
    return "; ".join([*words, *(["Secure"] if secure else [])])


# The log-in page, which needs no JavaScript: a token or a link is pasted into a field. A link's secret stands behind `#`, which is
# never sent; the page's script puts it into the field. Only the button's POST redeems it: chat programs fetch links, too.

PATH = "/login"
MOST_FORM_BYTES = 16 << 10
MOST_ADDRESS = 4096
UNKNOWN = "This link or token is not known, was used, was revoked, or is over."
OVER = "The link or token with which this browser was logged in was revoked, or is over."
OWNERS = "This browser runs as the owner on the dashboard's machine: it shows the owner's view, also with a link for viewers."
TOO_MANY = "Too many log-ins failed from this address; try again in a minute."
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in - DeepSeek Dashboard</title>
<link rel="stylesheet" href="{base}assets/tokens.css"><link rel="stylesheet" href="{base}assets/login.css">
<link rel="icon" href="{base}assets/icon.svg">
<script type="module" src="{base}assets/login.js"></script>
</head>
<body>
<main class="login">
<h1>DeepSeek Dashboard</h1>
<p class="{tone}" role="{role}">{said}</p>
<form method="post" action="{base}login">
<label for="token">Link or token</label>
<input id="token" name="token" type="password" required maxlength="8192" autocomplete="off" spellcheck="false" aria-describedby="help" autofocus>
<input id="next" name="next" type="hidden" value="{next}">
<button type="submit">Open the dashboard</button>
</form>
<p id="help" class="dim">Paste the whole link that you were sent, or a token. The owner of this dashboard prints a link with <code>deepseek-dashboard url</code>,
and makes one for you with <i>Share</i> on any page.</p>
</main>
</body>
</html>
"""


def page_of(said: str, wanted: str, status: int = HTTPStatus.UNAUTHORIZED, *, mistake: bool = True) -> HTMLResponse:
    """Leads to the address that was `wanted` afterwards. `said` stands above the field, without the folders of files: anyone reads it."""
    tone, role = ("said", "alert") if mistake else ("said hint", "status")
    text = PAGE.format(
        tone=tone,
        role=role,
        said=escape(without_details(said)),
        next=escape(safe_path(wanted)),
        base=escape(path_to("/")),
    )
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})


def safe_path(address: str) -> str:
    """An address of this dashboard, without its base path; of anything else, `/`. `//evil` and `/\\evil` are other hosts to a browser, and
    dots lead out of the base path."""
    parts = address[:MOST_ADDRESS]
    is_ours = (
        parts.startswith("/")
        and not parts.startswith(("//", "/\\", PATH))
        and parts.isprintable()
        and "\\" not in parts
    )
    is_ours = is_ours and not any(
        unquote(part) in (".", "..") for part in parts.partition("?")[0].partition("#")[0].split("/")
    )
    return parts if is_ours and parts.isascii() else "/"


def pasted(text: str) -> tuple[str, str]:
    """The secret and the address of a pasted link: `http://h:8080/login#token=dsk_...&next=%2Fflame -> ("dsk_...", "/flame")`."""
    secret = SECRET.search(text)
    wanted = ""
    if "#" in text:
        wanted = parse_qs(text.partition("#")[2].strip()).get("next", [""])[0]
    return (secret[0] if secret else ""), wanted


def link_of(address: str, secret: str, path: str = "") -> str:
    """`http://h:8080/login#token=dsk_...&next=%2Fflame%3Frun%3Da`"""
    wanted = f"&next={quote(path, safe='')}" if path else ""
    return f"{address.rstrip('/')}{PATH}#token={secret}{wanted}"


def add_routes(app: FastAPI, access: Access, tokens: Tokens, audit: Audit, limit: LogInLimit) -> None:
    router = APIRouter()

    @router.get(PATH, include_in_schema=False)
    @router.head(PATH, include_in_schema=False)
    @needs(Role.ANYONE)  # a form without data
    def login(next: str = "/") -> Response:
        asking = visitor()
        is_here = asking.role is Role.OWNER and not asking.key
        return page_of(tokens.trouble or (OWNERS if is_here else ""), next, HTTPStatus.OK, mistake=bool(tokens.trouble))

    @router.post(PATH, include_in_schema=False)
    @needs(Role.ANYONE)  # answers with a cookie for a secret, and with nothing else
    async def redeem(request: Request) -> Response:
        form = _fields_of(await _body_of(request))
        secret, wanted = pasted(form.get("token", ""))
        wanted = safe_path(wanted or form.get("next", "/"))
        peer = request.scope.get("extensions", {}).get(PEER)
        address = peer.address if peer is not None else ""
        try:
            begun = await run_in_threadpool(tokens.redeem, secret) if secret else None
        except (DamagedTokens, TokenMistake, Unwritable) as error:
            return page_of(str(error), wanted, HTTPStatus.SERVICE_UNAVAILABLE)
        if begun is None:
            is_much = limit.failed(address)
            status = HTTPStatus.TOO_MANY_REQUESTS if is_much else HTTPStatus.UNAUTHORIZED
            return page_of(TOO_MANY if is_much else tokens.trouble or UNKNOWN, wanted, status)
        session_secret, session = begun
        await run_in_threadpool(audit.add_once, session.of or session.name, address, f"log-in as {session.role}")
        seconds = (session.expires_s or 0) - time.time()
        is_secure = access.is_secure or request.url.scheme == "https"
        cookie = set_cookie(
            request.scope["headers"], session_secret, seconds, base_path=access.base_path, secure=is_secure
        )
        return Response(
            status_code=HTTPStatus.SEE_OTHER,
            headers={"Location": path_to(wanted), "Set-Cookie": cookie, "Cache-Control": "no-store"},
        )

    @router.post("/logout", include_in_schema=False)
    @needs(Role.ANYONE)  # ends the session whose cookie is shown
    async def logout(request: Request) -> Response:
        for secret in cookies_of(request.scope["headers"], access.base_path):
            found = tokens.found(secret, "session")
            if found is not None:
                await run_in_threadpool(tokens.end, found.hash)
        cookie = set_cookie(request.scope["headers"], "", 0, base_path=access.base_path)
        return Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": path_to(PATH), "Set-Cookie": cookie})

    app.include_router(router)


def _fields_of(body: bytes) -> dict[str, str]:
    try:
        return {
            name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=10).items()
        }
    except ValueError:  # more fields than a form of ours has
        return {}


async def _body_of(request: Request) -> bytes:
    """As much as a form may have; what is longer, or breaks off, is no form of ours."""
    body = b""
    with suppress(ClientDisconnect):
        async for part in request.stream():
            body += part
            if len(body) > MOST_FORM_BYTES:
                return b""
        return body
    return b""
