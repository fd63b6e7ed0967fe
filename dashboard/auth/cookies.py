"""The cookie of a session. Browsers keep the cookies of all ports of a host together, so its name has the port and the base path."""

from __future__ import annotations

import hashlib

from .credential import SECRET
from .hosts import RawHeaders, host_of

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
