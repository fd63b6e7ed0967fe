"""A hub on loopback for huggingface_hub: models with commits, ETags and ranges, and the faults of a real one."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LFS_FROM = 4_096  # bytes: larger files are of Git LFS, as at the hub


@dataclass
class FakeModel:
    """A repository at one commit."""

    files: dict[str, bytes]
    licence: str = "mit"
    gated: bool = False
    parameters: int | None = None
    older: dict[str, dict[str, bytes]] = field(default_factory=dict)  # files by commit, of those before

    @property
    def commit(self) -> str:
        whole = b"".join(name.encode() + content for name, content in sorted(self.files.items()))
        return hashlib.sha1(whole).hexdigest()

    def at(self, revision: str) -> dict[str, bytes] | None:
        return self.files if revision in ("main", self.commit) else self.older.get(revision)

    def push(self, files: dict[str, bytes]) -> None:
        """A new commit; the one before stays."""
        self.older[self.commit] = self.files
        self.files = files


@dataclass
class FakeHub:
    """`served` has method, path and Range of each request."""

    models: dict[str, FakeModel] = field(default_factory=dict)
    address: str = ""
    served: list[tuple[str, str, str]] = field(default_factory=list)
    cut_after: dict[str, list[int]] = field(
        default_factory=dict
    )  # by file: bytes after which the next answers end early
    wrong: set[str] = field(default_factory=set)  # files whose bytes differ from their ETag
    status: dict[str, int] = field(default_factory=dict)  # by file or model: a plain error
    silent: set[str] = field(default_factory=set)  # files of which nothing comes after the head of the answer
    ended: threading.Event = field(default_factory=threading.Event)
    description: bytes = b""  # of any model, in place of the right one

    def gets(self, name: str) -> list[tuple[str, str, str]]:
        return [request for request in self.served if request[0] == "GET" and request[1].endswith(name)]


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest() if len(content) >= LFS_FROM else git_sha1(content)


@contextmanager
def running() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(False)

        def do_GET(self) -> None:
            self.answer(True)

        def answer(self, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.served.append((self.command, path, self.headers.get("Range", "")))
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", path):
                self.describe(found[1], found[2] or "main")
            elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                self.file(found[1], found[2], found[3], with_body)
            elif path.startswith("/plain/"):
                self.file("plain", "main", path.removeprefix("/plain/"), with_body)
            else:
                self.refuse(404, "RepoNotFound")

        def describe(self, name: str, revision: str) -> None:
            model = hub.models.get(name)
            if name in hub.status:
                return self.refuse(hub.status[name], "")
            if hub.description:
                return self.say(hub.description)
            if model is None:
                return self.refuse(401, "RepoNotFound")
            files = model.at(revision)
            if files is None:
                return self.refuse(404, "RevisionNotFound")
            commit = model.commit if files is model.files else revision
            siblings: list[dict[str, Any]] = []
            for file, content in files.items():
                sibling: dict[str, Any] = {"rfilename": file, "size": len(content), "blobId": git_sha1(content)}
                if len(content) >= LFS_FROM:
                    sibling["lfs"] = {"size": len(content), "sha256": etag(content), "pointerSize": 130}
                siblings.append(sibling)
            table: dict[str, Any] = {
                "id": name,
                "sha": commit,
                "siblings": siblings,
                "cardData": {"license": model.licence},
            }
            if model.parameters:
                table["safetensors"] = {"parameters": {"F32": model.parameters}, "total": model.parameters}
            return self.say(json.dumps(table).encode())

        def say(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def file(self, name: str, revision: str, file: str, with_body: bool) -> None:
            model = hub.models.get(name)
            if model is None:
                return self.refuse(401, "RepoNotFound")
            if model.gated:
                return self.refuse(403, "GatedRepo")
            if file in hub.status:
                return self.refuse(hub.status[file], "")
            files = model.at(revision)
            if files is None:
                return self.refuse(404, "RevisionNotFound")
            if file not in files:
                return self.refuse(404, "EntryNotFound")
            content = files[file]
            begin, code = 0, 200
            if found := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
                begin, code = int(found[1]), 206
            self.send_response(code)
            self.send_header("X-Repo-Commit", model.commit if files is model.files else revision)
            self.send_header("ETag", f'"{etag(content)}"')
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content) - begin))
            if code == 206:
                self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if not with_body:
                return None
            if file in hub.silent:
                hub.ended.wait(60)
                return None
            sent = bytes(byte ^ 1 for byte in content) if file in hub.wrong else content
            if hub.cut_after.get(file):
                self.wfile.write(sent[begin : begin + hub.cut_after[file].pop(0)])
                self.wfile.flush()
                self.close_connection = True
                return None
            self.wfile.write(sent[begin:])
            return None

        def refuse(self, code: int, word: str) -> None:
            self.send_response(code)
            if word:
                self.send_header("X-Error-Code", word)
                self.send_header("X-Error-Message", word)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="fake hub", daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
