"""The browser code in one file is what stands in many, and is left where it was built of something else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import assets
from collectors.store.engines import open_store
from dashboard import static_files
from dashboard.queries import Queries
from tests.support.serving import Web, served

NAMES = "async (address) => Object.keys(await import(address)).sort()"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    open_store(tmp_path, write=True).close()
    queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
    with served(queries) as web:
        yield web
    queries.close()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the browser code, which is served instead."""
    copy = tmp_path / "assets"
    shutil.copytree(assets.FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(assets, "FOLDER", copy)
    monkeypatch.setattr(assets, "BUILT", copy / "built")
    monkeypatch.setattr(assets, "DIGEST", copy / "built" / "sources")
    monkeypatch.setattr(static_files, "ASSETS", copy)
    return copy


def test_what_is_built_is_current_here() -> None:
    assert assets.is_built(), "run `make setup`, or python hatch_build.py"


def test_the_one_file_exports_what_the_modules_export(web: Web, browser: Browser) -> None:
    exported = []
    for name in ("built/modules.js", "modules.js"):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{web.port}/healthz")
        exported.append(page.evaluate(NAMES, f"{static_files.versioned()}/{name}"))
        page.close()
    assert exported[0] == exported[1] and "TimeChart" in exported[0]


@pytest.mark.parametrize(("name", "more"), [("lib/dom.js", "\n// changed\n"), ("app.css", "\n/* changed */\n")])
def test_a_change_is_served_at_once_though_nothing_was_built(
    elsewhere: Path, web: Web, monkeypatch: pytest.MonkeyPatch, name: str, more: str
) -> None:
    monkeypatch.setattr(static_files, "LOOK_S", 0.0)
    before = web.ask(f"{static_files.versioned()}/built/modules.js").body
    (elsewhere / name).write_text((elsewhere / name).read_text() + more)
    for built, source in (("built/modules.js", "../modules.js"), ("built/modules.css", "../modules.css")):
        answer = web.ask(f"{static_files.versioned()}/{built}")
        assert answer.status == 200 and re.search(re.escape(source), answer.body.decode())
    assert len(before) > 100_000
