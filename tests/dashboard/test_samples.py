"""Samples from the file of a run to the answers of the API: what is shown, what is refused, and that it stays inert."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.logs.formats import Arrival
from collectors.logs.formats.samples import LoggedSamples
from collectors.records import MAX_INLINE_BYTES, Event, Offset, RunInfo, Sample
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import SampleQuery, Store
from dashboard import samples
from dashboard.queries import Queries
from dashboard.samples import MAX_BYTES, MAX_TEXT_BYTES
from deepseek.log import RunLog
from tests.support.event_records import RECORDED
from tests.support.following import Follower, until
from tests.support.ingesting import Ingest
from tests.support.pictures import png, wav
from tests.support.serving import Answer, Web, served

INERT = "default-src 'none'; sandbox"
NOW = Arrival(1_764_000_000.0, 1_764_000_001.0)


def parsed(*lines: object) -> tuple[list[Sample], LoggedSamples]:
    file = LoggedSamples("a", 3)
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return [one for one in file.parse(texts, NOW) if isinstance(one, Sample)], file


def test_a_line_is_a_sample_of_its_kind() -> None:
    found, file = parsed(
        {"time_s": 1.5, "step": 7, "name": "val/image", "path": "images/7.PNG", "bytes": 812, "written_s": 1.25},
        {"name": "answer", "text": "<b>42</b>"},
        {"name": "table", "kind": "table", "text": "{}", "step": 1e3},
        {"name": "model", "path": "/job/model.onnx"},
    )
    assert found == [
        Sample("a", "val/image", "image", "image/png", 1.5, 7, 3, path="images/7.PNG", length=812, written_s=1.25),
        Sample("a", "answer", "text", "text/plain", NOW.until_s, None, 3, b"<b>42</b>", length=9),
        Sample("a", "table", "table", "application/json", NOW.until_s, 1000, 3, b"{}", length=2),
        Sample("a", "model", "file", "", NOW.until_s, None, 3, path="/job/model.onnx"),
    ]
    assert not file.tally.lines_skipped and not file.tally.fields_skipped


@pytest.mark.parametrize(
    "line",
    [
        b"not JSON",
        b"[1]",
        {"text": "no name"},
        {"name": "nothing"},
        {"name": 7, "text": "x"},
        {"name": "", "text": "x"},
        {"name": "a" * 501, "text": "x"},
        {"name": "up", "path": "../other/secret.txt"},
        {"name": "up", "path": "/job/../../etc/passwd"},
        {"name": "empty", "path": ""},
        {"name": "long", "path": "x" * 5000},
        {"name": "\ud800", "path": "\ud800"},
    ],
)
def test_a_line_that_is_none_costs_itself(line: object) -> None:
    found, file = parsed(line, {"name": "good", "text": "x"})
    assert [one.name for one in found] == ["good"] and file.tally.lines_skipped == 1 and file.tally.first_skip


def test_odd_fields_are_left_out_and_counted() -> None:
    found, file = parsed(
        {"name": "a\x00", "text": "\ud800\x00", "time_s": "x", "step": "y"},
        {"name": "far", "text": "x", "step": 2**60, "time_s": 1e15},
        {"name": "NaN", "text": "x", "step": float("nan")},
        {"name": "long", "text": "ä" * MAX_INLINE_BYTES},
    )
    assert [one.step for one in found] == [None] * 4 and file.tally.fields_skipped == 6
    assert found[0].name == "a\\0" and found[0].data == b"\\ud800\\0"
    assert len(found[3].data) == MAX_INLINE_BYTES and found[3].data.decode()


@given(
    st.dictionaries(
        st.sampled_from(["name", "text", "path", "step", "time_s", "bytes", "kind", "written_s"]),
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(max_size=8),
            st.lists(st.integers(), max_size=2),
        ),
    )
)
def test_any_line_is_a_sample_that_the_store_takes_or_is_counted(line: dict[str, Any]) -> None:
    found, file = parsed(json.dumps(line).encode())
    assert len(found) + file.tally.lines_skipped == 1
    for one in found:
        assert one.name and (one.path == "") == (
            one.kind in ("text", "table", "histogram") and one.length == len(one.data) and not one.written_s
        )


class Scene:
    """A log folder with a web application over what was stored of it."""

    def __init__(self, folder: Path, store: Store, web: Web) -> None:
        self.log_dir, self.store, self.web = folder / "logs", store, web

    def add(self, path: str, written: bytes = b"", run: str = "a", **about: object) -> int:
        """A sample of that file, which is written where there is something to write; its number."""
        place = Path(path) if path.startswith("/") else self.log_dir / run / path
        if written:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(written)
        given: dict[str, Any] = {
            "name": "it",
            "kind": "file",
            "media": "",
            "time_s": None,
            "step": 1,
            "path": path,
            **about,
        }
        self.store.append([Sample(run=run, **given)])
        return self.store.samples(SampleQuery(run, limit=100_000))[-1].number

    def policies(self, number: int) -> list[str]:
        """All that a browser keeps to."""
        with urlopen(f"http://127.0.0.1:{self.web.port}/api/v1/sample?run=a&id={number}") as answer:
            return answer.headers.get_all("Content-Security-Policy") or []

    def shown(self, number: int, run: str = "a") -> Answer:
        return self.web.ask("/api/v1/sample", run=run, id=number)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("samples")
    (folder / "logs" / "a").mkdir(parents=True)
    (folder / "cwd").mkdir()
    store = open_store(folder / "data", write=True)
    store.append([RunInfo("a", {"cwd": str(folder / "cwd")}), RunInfo(".remote/local/b", {"cwd": str(folder / "cwd")})])
    queries = Queries(open_store(folder / "data", write=False), folder / "logs", folder / "data")
    with served(queries) as web:
        yield Scene(folder, store, web)
    queries.close()
    store.close()


@pytest.mark.parametrize(
    ("name", "data", "shown_as"),
    [
        ("x.png", png(), "image/png"),
        ("x.wav", wav(), "audio/wav"),
        ("x.gif", b"GIF89a" + bytes(30), "image/gif"),
        ("x.webp", b"RIFF1234WEBPVP8X" + bytes(30), "image/webp"),
        ("x.jpg", b"\xff\xd8\xff\xc0\0\x11\x08\0\x10\0\x20" + bytes(30), "image/jpeg"),
        ("x.mp3", b"ID3" + bytes(30), "audio/mpeg"),
        ("x.png.txt", png(), "image/png"),
    ],
    ids=["png", "wav", "gif", "webp", "jpeg", "mp3", "txt"],
)
def test_an_image_or_sound_is_what_its_bytes_say(scene: Scene, name: str, data: bytes, shown_as: str) -> None:
    answer = scene.shown(number := scene.add(name, data))
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, data, shown_as)
    assert answer.headers["x-content-type-options"] == "nosniff" and any(
        policy.startswith(INERT) for policy in scene.policies(number)
    )
    assert answer.headers["content-disposition"].startswith("inline; filename=")


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("page.html", "text", b"<script>alert(1)</script>"),
        ("drawing.svg", "text", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'),
        ("lies.png", "image", b"<html><script>alert(1)</script>"),
        ("lies.wav", "audio", b"RIFF\0\0\0\0SVG <script>"),
        ("polyglot.jpg", "image", b"<!doctype html>\xff\xd8\xff"),
        ("unknown.exe", "file", b"MZ<script>"),
    ],
    ids=["html", "svg", "png", "wav", "jpg", "exe"],
)
def test_what_could_run_is_plain_text_or_is_saved(scene: Scene, name: str, kind: str, data: bytes) -> None:
    answer = scene.shown(number := scene.add(name, data, kind=kind))
    assert answer.status == 200 and answer.body == data
    media_type, disposition = answer.headers["content-type"], answer.headers["content-disposition"]
    assert (
        media_type == samples.PLAIN
        if kind == "text"
        else (media_type, disposition[:10]) == (samples.UNKNOWN, "attachment")
    )
    assert any(policy.startswith(INERT) for policy in scene.policies(number))


def test_names_of_samples_stay_names_of_files(scene: Scene) -> None:
    for name in ('a"; evil="b', "../../x", "\r\nSet-Cookie: a=b", "ä/\U0001f600", ".hidden", "x" * 500):
        answer = scene.shown(scene.add("n.png", png(), name=name))
        file_name = answer.headers["content-disposition"].removeprefix('inline; filename="').removesuffix('"')
        assert (
            set(file_name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
            and file_name[0] not in ".-"
        )
        assert "set-cookie" not in answer.headers


def test_files_outside_of_the_run_are_not_shown(scene: Scene, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    folder, cwd = scene.log_dir / "a", scene.log_dir.parent / "cwd"
    (folder / "link.png").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    (scene.log_dir / "other").mkdir()
    (scene.log_dir / "other" / "theirs.png").write_bytes(png())
    for path in (
        str(secret),
        "link.png",
        "up/secret.png",
        str(scene.log_dir / "other" / "theirs.png"),
        "/etc/passwd",
        "/proc/self/environ",
    ):
        answer = scene.shown(scene.add(path))
        assert answer.status == 404 and "only files in these are shown" in answer.json["error"], path
    assert scene.shown(scene.add(str(cwd / "mine.png"), png())).status == 200
    for name in (".ssh/key.txt", "key.pem", ".env.txt"):
        assert scene.shown(scene.add(str(cwd / name), b"secret")).status == 404, name
    (cwd / "linked.png").symlink_to(secret)
    assert scene.shown(scene.add(str(cwd / "linked.png"))).status == 404


def test_a_run_of_another_host_has_only_what_lies_in_its_folder(scene: Scene) -> None:
    run = ".remote/local/b"
    assert scene.shown(scene.add("here.png", png(), run=run), run).status == 200
    assert scene.shown(scene.add(str(scene.log_dir.parent / "cwd" / "there.png"), png(), run=run), run).status == 404


def test_what_is_gone_changed_special_or_too_large_is_a_sentence(scene: Scene) -> None:
    gone = scene.add("gone.png", png())
    (scene.log_dir / "a" / "gone.png").unlink()
    assert "not there" in scene.shown(gone).json["error"]
    with urlopen(f"http://127.0.0.1:{scene.web.port}/api/v1/sample?run=a&id={gone}&quiet=true") as answer:
        assert (answer.status, answer.read()) == (204, b"")
        assert json.loads(unquote(answer.headers["X-Error"])) == scene.shown(gone).json
    resized = scene.add("resized.png", png(), length=7)
    assert "has changed since" in scene.shown(resized).json["error"]
    rewritten = scene.add("rewritten.png", png(), length=len(png()), written_s=time.time())
    assert scene.shown(rewritten).status == 200
    os.utime(scene.log_dir / "a" / "rewritten.png", (1, 1))
    assert "has changed since" in scene.shown(rewritten).json["error"]
    os.mkfifo(scene.log_dir / "a" / "pipe.png")
    assert "not a regular file" in scene.shown(scene.add("pipe.png")).json["error"]
    with (scene.log_dir / "a" / "large.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert "MiB are not shown" in scene.shown(scene.add("large.png")).json["error"]
    assert (
        "million are not shown"
        in scene.shown(scene.add("bomb.png", png(1, 1).replace(b"\0\0\0\1\0\0\0\1", b"\0\1\0\0\0\1\0\0"))).json["error"]
    )
    (scene.log_dir / "a" / "circle").symlink_to("circle")
    for path in ("circle/x.png", "circle", "nul\0.png", "a/" * 2000 + "x.png", "x" * 300 + ".png"):
        assert scene.shown(scene.add(path)).status == 404
    for run in ("ä" * 200, "a/../../..", "nul\0", "circle/x"):
        assert scene.shown(scene.add("x.png", run=run), run).status == 404
        assert scene.web.ask("/api/v1/checkpoints", run=run).status == 200
    assert scene.shown(10**9).status == 404 and scene.web.ask("/api/v1/sample", run="none", id=1).status == 404


def test_of_a_long_text_the_beginning_is_shown_with_its_length(scene: Scene) -> None:
    answer = scene.shown(scene.add("long.txt", b"x" * (MAX_TEXT_BYTES + 10), kind="text"))
    assert len(answer.body) == MAX_TEXT_BYTES and answer.headers["x-total-bytes"] == str(MAX_TEXT_BYTES + 10)


def test_names_and_rows_are_listed(scene: Scene) -> None:
    for step in (5, 1, 9):
        scene.add("", name="<b>,%2F", kind="text", step=step, data=b"hi", run="list")
    scene.add("", name="other", kind="table", step=None, data=b"{}", run="list")
    answer = scene.web.ask("/api/v1/samples", run="list").json
    assert [
        (row["name"], row["kinds"], row["count"], row["first_step"], row["last_step"]) for row in answer["names"]
    ] == [
        ("<b>,%2F", ["text"], 3, 1, 9),
        ("other", ["table"], 1, None, None),
    ]
    rows = scene.web.ask("/api/v1/samples", run="list", name="<b>,%2F", from_step=2).json["samples"]
    assert [row["step"] for row in rows] == [5, 9] and scene.shown(rows[0]["id"], "list").body == b"hi"
    assert scene.web.ask("/api/v1/samples", run="nobody").status == 404
    assert scene.web.ask("/api/v1/samples", run="list", name="other", limit=0).status == 400


def test_event_files_of_a_followed_folder_are_shown_also_while_they_grow(tmp_path: Path, follower: Follower) -> None:
    (tmp_path / "a" / "train").mkdir(parents=True)
    source = next((RECORDED / "torch").glob("events.out*"))
    target = tmp_path / "a" / "train" / source.name
    target.write_bytes(source.read_bytes())
    (tmp_path / source.name).write_bytes(
        source.read_bytes()
    )  # in the log folder itself: a run that is called as the folder
    until(follower, lambda: sum(isinstance(one, Sample) for one in follower.records) == 10)
    store = open_store(tmp_path / ".data", write=True)
    store.append(follower.records)
    with target.open("ab") as file:
        file.write(b"more to come")
    queries = Queries(store, tmp_path, tmp_path / ".data")
    for run in ("a", tmp_path.name):
        by_kind = {one.kind: queries.sample(run, one.number) for one in store.samples(SampleQuery(run))}
        assert by_kind["image"].media == "image/png" and by_kind["text"].data == b"first line\nsecond | line"
        histogram = json.loads(by_kind["histogram"].data)
        assert sum(histogram["counts"]) == 10_000 and len(histogram["edges"]) == len(histogram["counts"]) + 1
        assert histogram["edges"] == sorted(histogram["edges"])
    target.write_bytes(b"\0" * 100_000)
    image = next(one for one in store.samples(SampleQuery("a")) if one.kind == "image")
    with pytest.raises(Exception, match="has changed since"):
        queries.sample("a", image.number)
    queries.close()
    store.close()


def test_what_run_log_logs_is_shown(tmp_path: Path, follower: Follower, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with RunLog(tmp_path, "a") as log:
        (log.folder / "media").mkdir()
        (log.folder / "media" / "1.png").write_bytes(png())
        (tmp_path / "tone.wav").write_bytes(wav())
        log.sample("image", log.folder / "media" / "1.png", 1)
        log.sample("tone", "tone.wav", 2)
        log.sample("answer", "42 <i>", 3)
    until(follower, lambda: sum(isinstance(one, Sample) for one in follower.records) == 3)
    store = open_store(tmp_path / ".data", write=True)
    store.append(follower.records)
    queries = Queries(store, tmp_path, tmp_path / ".data")
    found = {one.name: one for one in store.samples(SampleQuery("a"))}
    assert found["image"].path == "media/1.png" and found["tone"].path == str(tmp_path / "tone.wav")
    assert (
        queries.sample("a", found["image"].number).data == png()
        and queries.sample("a", found["tone"].number).data == wav()
    )
    assert queries.sample("a", found["answer"].number).data == b"42 <i>"
    queries.close()
    store.close()


def test_checkpoints_have_step_time_and_size(scene: Scene) -> None:
    folder = scene.log_dir / "points"
    (folder / "checkpoint-30").mkdir(parents=True)
    (folder / "checkpoint-30" / "model.safetensors").write_bytes(bytes(300))
    (folder / "last.pt").write_bytes(bytes(70))
    (folder / "elsewhere.pt").symlink_to("/etc/passwd")
    about = (("last.pt", 10), ("saved last.pt", 20), ("/gone/x.pt", 25))
    scene.store.append([Event("points", "checkpoint", 100.0 + step, 0, step, 0.5, text) for text, step in about])
    rows = scene.web.ask("/api/v1/checkpoints", run="points").json["checkpoints"]
    assert [(row["name"], row["step"], row["bytes"], bool(row["note"])) for row in rows] == [
        ("last.pt", 10, None, True),
        ("last.pt", 20, 70, False),
        ("/gone/x.pt", 25, None, True),
        ("checkpoint-30", 30, 300, False),
    ]
    assert scene.web.ask("/api/v1/checkpoints", run="list").json == {"checkpoints": []}


def test_the_files_of_a_run_that_is_one_file_are_those_that_were_read(scene: Scene) -> None:
    (scene.log_dir / "loose.png").write_bytes(png())
    scene.store.append([Sample("loose", "x", "image", "", None, 1, path="loose.png")])
    number = scene.store.samples(SampleQuery("loose"))[-1].number
    assert scene.shown(number, "loose").status == 404
    scene.store.append([Offset("loose.png", "loose", 1, 1, 0, 0, 0, 0, "", {})])
    assert scene.shown(number, "loose").status == 200


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\x89PNG\r\n", b"GIF8", b"RIFF1234WEBP", b"\xff\xd8\xff", b"RIFF1234WEBPVP8L"]),
)
def test_any_bytes_have_a_kind_and_a_size_or_none(data: bytes, sign: bytes) -> None:
    sample = Sample("a", "x", "image", samples.OF_HISTOGRAM, None, None)
    assert all(length >= 0 for length in samples.pixels(sign + data))
    assert samples.media_of(sample, sign + data) in (*samples.INLINE, samples.UNKNOWN)
    samples.readable(sample, data)
    samples.readable(sample._replace(media=samples.OF_TENSOR, kind="text"), data)
    samples.readable(sample._replace(media=samples.OF_TENSOR, kind="histogram"), data)


def test_a_deleted_run_takes_its_samples_with_it(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path, write=True)
    for run in ("a", "b"):
        store.append([Sample(run, "x", "text", "text/plain", None, 1, data=b"x")])
    store.delete("a")
    assert store.sample_names("a") == ([], 0, 0) and [found.count for found in store.sample_names("b").names] == [1]
    assert [run.name for run in store.runs()] == ["b"]
    store.append([Sample("a", "y", "text", "text/plain", None, 1, data=b"x")])
    assert [found.name for found in store.sample_names("a").names] == ["y"]
    store.close()


def test_a_table_that_a_run_logs_is_no_file_that_is_set_aside(tmp_path: Path) -> None:
    """As in docs/run-log.md, also where the collector starts anew, or the table is read before the line that names it."""
    ingest = Ingest(tmp_path / "logs")
    (ingest.root / "answers").mkdir()
    (ingest.root / "answers/confusion-0.csv").write_text("label,cat,dog\ncat,9,1\n")
    ingest.until(
        lambda: [one.trouble for one in ingest.store.offsets().values() if one.trouble],
        "it is read as if it were metrics",
    )
    with RunLog(ingest.root, "answers") as log:
        for step in (0, 50):
            table = log.folder / f"confusion-{step}.csv"
            table.write_text("label,cat,dog\ncat,9,1\ndog,2,8\n")
            log.sample("val/confusion", table, step)
    for _ in range(2):
        ingest.until(
            lambda: (
                [offset.trouble for path, offset in ingest.store.offsets().items() if "confusion" in path] == ["", ""]
            ),
            "a table is set aside",
        )
        ingest.restart()
        for _ in range(5):
            ingest.turn()
    assert ingest.store.run("answers").trouble == ""  # type: ignore[union-attr]
    ingest.close()
