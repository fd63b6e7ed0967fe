"""Host names and origins that are accepted, the headers of proxies, and the certificate of `--tls-cert`."""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

CERTIFICATE, KEY = "--tls-cert", "--tls-key"
EXPIRED, NOT_YET = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID
MAX_TURNS = 10  # of a handshake without a network

TlsStamp: TypeAlias = tuple[tuple[int, int, int], ...]

log = logging.getLogger(__name__)


class BadCertificate(Exception):
    """The text is one sentence with the remedy."""


class Certificate(NamedTuple):
    """PEM files: the certificate, followed by those of its issuers, and its key."""

    path: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Raises BadCertificate."""
        for path, flag in ((self.path, CERTIFICATE), (self.key, KEY)):
            try:
                text = path.read_bytes()
            except OSError as error:
                raise BadCertificate(f"cannot read {path} ({error.strerror}); give another file with {flag}") from None
            wanted = b"-----BEGIN CERTIFICATE-----" if flag == CERTIFICATE else b"PRIVATE KEY-----"
            if wanted not in text:
                what = "certificate" if flag == CERTIFICATE else "private key"
                raise BadCertificate(f"{path} holds no {what} in PEM; give the right file with {flag}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.path, self.key, password=_no_password)
        except _EncryptedKey:
            raise BadCertificate(
                f"{self.key} asks for a password; remove it with: openssl pkey -in {self.key} -out FILE"
            ) from None
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise BadCertificate(f"{self.key} is not the key of {self.path}; give both files of one pair") from None
            why = (error.reason or "unknown").lower().replace("_", " ")
            raise BadCertificate(f"{self.path} and {self.key} cannot be used ({why}); make them anew") from None
        return context

    def warning(self) -> str:
        """That it is over, or not valid yet, as a client with a right clock sees it; "" where it is well. Raises BadCertificate."""
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(self.path)  # its own root: only the times are of interest
        client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            _shake_hands(client, self.context())
        except ssl.SSLCertVerificationError as error:
            if error.verify_code in (EXPIRED, NOT_YET):
                is_over = error.verify_code == EXPIRED
                return f"{self.path} {'is over' if is_over else 'is not valid yet'}: browsers warn of it; renew it, or set the clock"
        except ssl.SSLError:
            return ""
        return ""

    def stamp(self) -> TlsStamp:
        """Raises OSError."""
        found = [os.stat(path) for path in (self.path, self.key)]  # noqa: PTH116  # twice a connection
        return tuple((status.st_ino, status.st_size, status.st_mtime_ns) for status in found)


class CertificateReloader:
    """Hands each new connection the pair as it is on the disk: a renewed one holds from the next connection on, without a signal.

    A look costs two stats a handshake. Files that do not fit together, as between the writing of both, leave the former pair in use.
    """

    def __init__(self, certificate: Certificate) -> None:
        """Raises BadCertificate."""
        self._certificate = certificate
        self._stamp = certificate.stamp()
        self._newest = self.context = certificate.context()
        self._trouble = ""
        self.context.sni_callback = self._at_handshake

    def _at_handshake(self, connection: Any, name: str | None, first: ssl.SSLContext) -> None:
        trouble = ""
        try:
            stamp = self._certificate.stamp()
            if stamp != self._stamp:
                self._stamp = stamp
                self._newest = self._certificate.context()
        except (OSError, BadCertificate) as error:
            trouble = str(error)
        if trouble and trouble != self._trouble:
            log.warning("the former certificate stays in use: %s", trouble)
        self._trouble = trouble
        if self._newest is not first:
            connection.context = self._newest


class _EncryptedKey(Exception):
    pass


def _no_password(*_: object) -> str:
    """Instead of a question on the terminal."""
    raise _EncryptedKey


def _shake_hands(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """Between two ends in memory. Raises SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    for _ in range(MAX_TURNS):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue


# Under which names the dashboard answers: what stands in Host and Origin is checked, against DNS rebinding and requests of other sites.

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?")  # a Host header in full
FOREIGN = "this dashboard does not answer under the name {0}; open it as http://localhost:<port>, or start it with --allow-host {0}"
NO_HOST = "the request names no host, or not one alone; open the dashboard as http://localhost:<port>"
OTHER_ORIGIN = "another site's page asked; open the address yourself, or start the dashboard with --allow-origin"
CROSS_SITE = "another site's page asked; open the address yourself"
FOR_PROGRAMS = ("/api/", "/healthz", "/metrics", "/openapi.json", "/_")
FORWARDED = (
    b"x-forwarded-",
    b"x-proxy",
    b"x-original-",
    b"x-real-ip",
    b"x-client-ip",
    b"x-envoy-",
    b"cf-",
    b"tailscale-",
    b"fly-",
    b"true-client-ip",
    b"x-cluster-client-ip",
    b"x-originating-ip",
    b"x-remote-",
    b"x-amzn-",
    b"x-azure-",
    b"x-appengine-",
    b"x-cloud-trace",
    b"x-github-",
    b"x-nginx-",
    b"fastly-",
    b"ngrok-",
)  # how headers of proxies and tunnels begin
EXACT = (b"forwarded", b"via", b"x-forwarded", b"client-ip", b"cdn-loop")


@dataclass(frozen=True)
class Access:
    """How the dashboard may be reached. `host` is what it listens on; `hosts` and `origins` are allowed besides.

    An origin whose name is also in `hosts` is the dashboard itself behind a proxy. Any other is an app elsewhere, whose pages read the API
    with a viewer's token (docs/components.md).
    """

    host: str = "127.0.0.1"
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()  # pages of these origins may show ours in a frame
    base_path: str = "/"
    certificate: Certificate | None = None  # of its own, for https
    proxies: tuple[str, ...] = ()  # addresses and networks whose forwarded headers are believed, and "unix"

    @property
    def is_secure(self) -> bool:
        return self.certificate is not None

    @property
    def is_loopback(self) -> bool:
        return is_loopback(self.host)

    @property
    def own_origins(self) -> tuple[str, ...]:
        """Under which a proxy shows the dashboard."""
        return tuple(origin for origin in self.origins if name_of_origin(origin) in self.hosts)

    @property
    def foreign_origins(self) -> frozenset[str]:
        """Of apps elsewhere."""
        return frozenset(self.origins).difference(self.own_origins)

    def names(self) -> frozenset[str]:
        """All that Host may say besides the address at which a connection arrived, in lower case."""
        own = () if self.is_loopback else (self.host, socket.gethostname())
        return frozenset(bracketed(name).lower() for name in (*LOOPBACK, *own, *self.hosts) if name)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def bracketed(host: str) -> str:
    """`::1 -> [::1]`"""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def name_of_origin(origin: str) -> str:
    """`https://Box.example:8443 -> box.example`"""
    found = HOST.fullmatch(origin.partition("://")[2])
    return found[1].lower() if found else ""


def host_of(headers: RawHeaders) -> tuple[str, str] | None:
    """`localhost:8080 -> ("localhost", "8080")`; None where there is not exactly one."""
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    found = HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return (found[1].lower(), found[2] or "") if found else None


def answers_to(headers: RawHeaders, names: frozenset[str], our_address: str) -> bool:
    """Whether Host is one of the names, or the address at which the connection arrived."""
    host = host_of(headers)
    return host is not None and (host[0] in names or host[0] == bracketed(our_address))


def refused(
    path: str, method: str, headers: RawHeaders, names: frozenset[str], our_address: str, origins: tuple[str, ...]
) -> str:
    """Why, in a sentence, or "". A page of another site may link to our pages, but not read or load what is for programs."""
    host = host_of(headers)
    if host is None:
        return NO_HOST
    if not answers_to(headers, names, our_address):
        return FOREIGN.format(host[0])
    place = f"{host[0]}:{host[1]}" if host[1] else host[0]
    is_named = False
    for name, value in headers:
        if name == b"origin":
            origin = value.decode("latin-1")
            is_named = origin in origins
            if not is_named and origin.lower() not in (f"http://{place}", f"https://{place}"):
                return OTHER_ORIGIN
    if is_named:
        return ""
    for name, value in headers:
        if name == b"sec-fetch-site" and value in (b"cross-site", b"same-site"):
            return CROSS_SITE if path.startswith(FOR_PROGRAMS) or method not in ("GET", "HEAD") else ""
    return ""


def is_forwarded(headers: RawHeaders) -> bool:
    """Whether a proxy or a tunnel stands in between, by its own words."""
    return any(name in EXACT or name.startswith(FORWARDED) for name, _ in headers)
