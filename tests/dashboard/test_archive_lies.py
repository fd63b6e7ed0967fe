"""A zip that lies or is damaged is one sentence and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import stat
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard import archive as archives
from dashboard.archive import MANIFEST, BadArchive, unpack, unpack_apart
from tests.support.archived import RUN
from tests.support.archived import exported as exported  # a fixture


def rewritten(source: Path, target: Path, change: str) -> Path:
    """A zip that lies in one way."""
    with zipfile.ZipFile(source) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts.pop(MANIFEST))
    first = manifest["parts"][0]["name"]
    odd: dict[str, bytes] = {}
    mode = 0
    if change in ("../evil", "/etc/evil", "store/../../evil", "store/a/b", "store\\evil", "x" * 300, "store/.hidden"):
        odd[change] = b"x"
        manifest["parts"].append(
            {"name": change, "bytes": 1, "sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}
        )
    elif change == "unlisted":
        odd["store/more.sqlite"] = b"x"
    elif change == "missing":
        manifest["parts"].append({**manifest["parts"][0], "name": "store/gone.sqlite"})
    elif change == "link":
        mode = stat.S_IFLNK | 0o777
    elif change == "damaged":
        parts[first] = bytes([parts[first][0] ^ 1]) + parts[first][1:]
    elif change == "no store":
        parts[first] = b"x" * len(parts[first])
        manifest["parts"][0]["sha256"] = hashlib.sha256(parts[first]).hexdigest()
    elif change == "longer":
        parts[first] += b"x"
    elif change == "bomb":
        odd["store/zeros.sqlite"] = bytes(300 << 20)
        manifest["parts"].append({"name": "store/zeros.sqlite", "bytes": 300 << 20, "sha256": "0"})
    elif change == "other run":
        manifest["run"] = "b"
    elif change == "format":
        manifest["format"] = 99
    elif change == "deep":
        manifest["about"] = json.loads("[" * 500 + "]" * 500)
    elif change == "infinite":
        manifest["exported_s"] = "never"
    elif change in ("never", "no number"):
        manifest["exported_s" if change == "never" else "from_s"] = 1e300 if change == "never" else float("nan")
    elif change == "no manifest":
        manifest = None
    elif change == "list":
        manifest = []
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in {**parts, **odd}.items():
            member = zipfile.ZipInfo(name)
            member.external_attr, member.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
        if manifest is not None:
            archive.writestr(MANIFEST, json.dumps(manifest))
    return target


LIES = [
    "../evil",
    "/etc/evil",
    "store/../../evil",
    "store/a/b",
    "store\\evil",
    "x" * 300,
    "store/.hidden",
    "unlisted",
    "missing",
    "link",
]
LIES += [
    "never",
    "no number",
    "damaged",
    "no store",
    "longer",
    "bomb",
    "other run",
    "format",
    "deep",
    "infinite",
    "no manifest",
    "list",
]


@pytest.mark.parametrize("change", LIES)
def test_a_zip_that_lies_is_one_sentence_and_leaves_nothing_outside(
    exported: Path, tmp_path: Path, change: str
) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(BadArchive) as refused:
        unpack(rewritten(exported, tmp_path / "odd.zip", change), tmp_path / "in")
    assert len(str(refused.value)) < 400
    assert "\n" not in str(refused.value).strip()
    assert {path.name for path in tmp_path.iterdir()} == {"in", "odd.zip"}
    assert sum(path.stat().st_size for path in (tmp_path / "in").iterdir()) < 5 << 20


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"


@pytest.mark.parametrize(
    "odd",
    [
        f"DROP TABLE event; CREATE VIEW event AS {ENDLESS}",
        f"DROP TABLE run; CREATE VIEW run AS {ENDLESS}",
        f"CREATE VIEW more AS {ENDLESS}",
        "CREATE TRIGGER t AFTER INSERT ON event BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE words USING fts5(text)",
        "ALTER TABLE event ADD COLUMN odd TEXT AS (hex(zeroblob(1000000000)))",
    ],
)
def test_a_store_that_computes_is_not_opened(exported: Path, tmp_path: Path, odd: str) -> None:
    (tmp_path / "in").mkdir()
    with zipfile.ZipFile(exported) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(parts.pop(MANIFEST))
    first = manifest["parts"][0]
    (tmp_path / "store").write_bytes(parts[first["name"]])
    with closing(sqlite3.connect(tmp_path / "store")) as db:
        db.executescript(odd)
    parts[first["name"]] = data = (tmp_path / "store").read_bytes()
    first |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    with zipfile.ZipFile(tmp_path / "odd.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**parts, MANIFEST: json.dumps(manifest).encode()}.items():
            archive.writestr(name, content)
    begun_s = time.process_time()
    with pytest.raises(BadArchive, match="no store does"):
        unpack(tmp_path / "odd.zip", tmp_path / "in")
    assert time.process_time() - begun_s < 5


def test_it_is_unpacked_in_a_process_with_limits(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "again").mkdir()
    with pytest.raises(BadArchive, match="is damaged: its SHA-256"):
        unpack_apart(rewritten(exported, tmp_path / "odd.zip", "damaged"), tmp_path / "in")
    assert unpack_apart(exported, tmp_path / "again").run == RUN
    monkeypatch.setattr(archives, "UNPACKED_WITHIN_S", 0.0)
    with pytest.raises(BadArchive, match="was not read within 0 s; export the run once more"):
        unpack_apart(exported, tmp_path / "in")


def test_an_honest_rewrite_is_opened(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    assert unpack(rewritten(exported, tmp_path / "same.zip", "none"), tmp_path / "in").run == RUN


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_random_damage_is_one_sentence_or_harmless(
    exported: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(exported.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.zip").write_bytes(raw[: data.draw(st.sampled_from([len(raw), len(raw) // 2]))])
    (folder / "in").mkdir()
    try:
        assert unpack(folder / "odd.zip", folder / "in").run
    except BadArchive as refused:
        assert len(str(refused)) < 600
