"""The certificate and key of `--tls-cert` and `--tls-key`: checked at the start, and read again when their files are others."""

from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

CERTIFICATE, KEY = "--tls-cert", "--tls-key"
EXPIRED, NOT_YET = 10, 9  # X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID
MOST_TURNS = 10  # of a handshake without a network

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
        except _Locked:
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


class Renewing:
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


class _Locked(Exception):
    pass


def _no_password(*_: object) -> str:
    """Instead of a question on the terminal."""
    raise _Locked


def _shake_hands(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    """Between two ends in memory. Raises SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    for _ in range(MOST_TURNS):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
