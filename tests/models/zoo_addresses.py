"""Weights at a plain address: the hash in its name, cuts, and one sentence for each fault."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.errors import ModelsError
from models.zoo import fetch, folder, table
from models.zoo.local_files import is_on_this_host
from models.zoo.table import ZooRow
from tests.models import fake_hub
from tests.models.fake_hub import FakeHub, FakeModel

CONTENT = hashlib.sha256(b"weights").digest() * 5000
FILE = f"resnet18-{hashlib.sha256(CONTENT).hexdigest()[:8]}.pth"


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub.running() as hub:
        hub.models["plain"] = FakeModel({FILE: CONTENT})
        yield hub


@pytest.fixture
def row(hub: FakeHub) -> ZooRow:
    found = next(row for row in table.whole_rows() if row.source == "url")
    return found._replace(id=f"{hub.address}/plain/{FILE}", licence="mit")


def test_it_is_downloaded_once_and_locked(row: ZooRow, hub: FakeHub, tmp_path: Path) -> None:
    fetched = fetch.fetch(row, tmp_path)
    assert fetched.files[FILE].read_bytes() == CONTENT
    assert folder.read(tmp_path)[row.name].files[FILE] == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert is_on_this_host(row, tmp_path, folder.read(tmp_path))
    fetch.fetch(row, tmp_path)
    assert len(hub.gets(FILE)) == 1


@pytest.mark.parametrize("fault", ["cut", "wrong"])
def test_what_is_cut_or_changed_is_not_kept(fault: str, row: ZooRow, hub: FakeHub, tmp_path: Path) -> None:
    if fault == "cut":
        hub.cut_after[FILE] = [1000]
    else:
        hub.wrong.add(FILE)
    with pytest.raises(ModelsError, match="cut"):
        fetch.fetch(row, tmp_path)
    assert list((tmp_path / "urls").iterdir()) == [] and folder.read(tmp_path) == {}
    hub.wrong.clear()
    fetch.fetch(row, tmp_path)


def test_a_missing_file_and_a_silent_host(row: ZooRow, tmp_path: Path) -> None:
    with pytest.raises(ModelsError, match="answered 404"):
        fetch.fetch(row._replace(id=row.id.replace(FILE, "other-12345678.pth")), tmp_path)
    with pytest.raises(ModelsError, match="cannot be reached"):
        fetch.fetch(row._replace(id=f"http://127.0.0.1:9/{FILE}"), tmp_path)


def test_a_server_that_falls_silent_is_one_sentence(
    row: ZooRow, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SILENT_S", 0.3)
    hub.silent.add(FILE)
    with pytest.raises(ModelsError, match=r"sent nothing for 0\.3 s: run it again"):
        fetch.fetch(row, tmp_path)
    assert list((tmp_path / "urls").iterdir()) == [] and socket.getdefaulttimeout() is None


def test_a_file_that_changed_on_the_disk_is_refused(row: ZooRow, tmp_path: Path) -> None:
    place = fetch.fetch(row, tmp_path).files[FILE]
    place.write_bytes(CONTENT[::-1])
    from models.zoo.local_files import files_of

    with pytest.raises(ModelsError, match=r"is not what zoo\.lock recorded"):
        files_of(row, tmp_path)
