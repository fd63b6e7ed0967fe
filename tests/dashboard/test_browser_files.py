"""What goes out is compressed; browser code has a tag, and is kept for good only below an address that names its version."""

from __future__ import annotations

import gzip
import http.client
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from collectors.store.engines import open_store
from dashboard import static_files
from dashboard.pages import pages
from dashboard.queries import Queries
from tests.support.serving import Web, served

CHUNK = "/_dash-component-suites/dash_ag_grid/async-community.js"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    folder = tmp_path_factory.mktemp("files")
    open_store(folder, write=True).close()
    queries = Queries(open_store(folder, write=False), folder, folder)
    with served(queries) as web:
        yield web
    queries.close()


def get(web: Web, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
    connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize("path", ["/assets/app.css", f"{static_files.versioned()}/lib/dom.js", CHUNK])
def test_a_file_is_sent_compressed_or_plain_and_not_again(web: Web, path: str) -> None:
    status, headers, packed = get(web, path, Accept_Encoding="gzip")
    _, plain_headers, plain = get(web, path)
    assert (status, headers["content-encoding"]) == (200, "gzip") and "content-encoding" not in plain_headers
    assert gzip.decompress(packed) == plain and headers["vary"] == "Accept-Encoding"
    assert get(web, path, If_None_Match=headers["etag"])[0::2] == (304, b"")
    assert get(web, path, If_None_Match='"another"')[0] == 200


@pytest.mark.parametrize(
    ("accepted", "coding"), [("gzip, deflate, br, zstd", "zstd"), ("gzip, deflate", "gzip"), ("br", None), ("", None)]
)
def test_an_answer_is_compressed_as_the_client_takes_it(web: Web, accepted: str, coding: str | None) -> None:
    unpack = {"zstd": zstandard.decompress, "gzip": gzip.decompress, None: bytes}
    plain = get(web, "/api/v1/findings/rules")[2]
    status, headers, body = get(web, "/api/v1/findings/rules", Accept_Encoding=accepted)
    assert (status, headers.get("content-encoding")) == (200, coding) and len(plain) > 1000
    assert unpack[coding](body) == plain and int(headers["content-length"]) == len(body)
    assert coding is None or "accept-encoding" in headers["vary"].lower()


def test_only_an_address_that_names_the_version_is_kept_for_good(web: Web) -> None:
    kept = {
        path: get(web, path)[1]["cache-control"]
        for path in (f"{static_files.versioned()}/shell.js", "/assets/shell.js", "/assets/v000000000000/shell.js")
    }
    assert ["immutable" in control for control in kept.values()] == [True, False, False]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "lib",
        "../README.md",
        "..%2f..%2fREADME.md",
        "lib/../../README.md",
        "no.js",
        "%00",
        "a" * 5000,
        "v000000000000/../../app.py",
    ],
)
def test_what_is_no_file_of_assets_is_not_found(web: Web, path: str) -> None:
    assert get(web, f"/assets/{path}")[0] == 404


def test_a_file_that_is_edited_is_sent_as_it_is(web: Web, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(static_files, "ASSETS", tmp_path)
    monkeypatch.setattr(static_files, "LOOK_S", 0.0)
    (tmp_path / "a.js").write_text("1")
    before, tag = static_files.versioned(), get(web, "/assets/a.js")[1]["etag"]
    (tmp_path / "a.js").write_text("2")
    os.utime(tmp_path / "a.js", (1, 1))
    assert get(web, "/assets/a.js")[2] == b"2" and get(web, "/assets/a.js", If_None_Match=tag)[0] == 200
    assert static_files.versioned() != before


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(web: Web, page: object) -> None:
    html = get(web, page.path)[2].decode()  # type: ignore[attr-defined]
    names = re.findall(r'(?:href|src)="(/(?:assets|_dash-component-suites)/[^"]+)"', html)
    assert len(names) > 10
    assert [name for name in names if get(web, name)[0] != 200] == []
