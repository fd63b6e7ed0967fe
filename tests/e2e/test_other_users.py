"""A dashboard of root and the files of another user: without a flag it leaves them alone, with `--as-root` it has that user's rights."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from analysis.findings.dumps import dump_of
from analysis.traces.steps import MalformedTrace, read_answer
from collectors import rights
from collectors.logs.open_files import FLAGS, NotRead, open_file
from collectors.records import LogLine, Points
from collectors.rights import LeftAlone, open_resolved
from collectors.trace_requests import NoEntry, ask_for_trace
from dashboard.samples import checkpoints_of
from tests.support.following import Follower, until
from tests.support.two_users import NOBODY, SECRET, THEIRS, link, needs_root, of_theirs, write
from tests.support.two_users import logs as logs  # fixtures
from tests.support.two_users import narrow as narrow

pytestmark = needs_root


def names_in(logs: Path) -> set[str]:
    """The series of a log folder, once those of `ours` are there."""
    follower = Follower(logs)
    try:
        until(follower, lambda: "ours" in series(follower))
        return series(follower)
    finally:
        follower.tail.close()


def series(follower: Follower) -> set[str]:
    return {name for record in follower.records if isinstance(record, Points) for name in record.names}


def test_what_belongs_to_another_user_is_left_alone_and_said_once(logs: Path) -> None:
    follower = Follower(logs)
    until(follower, lambda: "ours" in series(follower))
    assert series(follower) == {"ours"}
    said = follower.tail.trouble()
    assert (
        said.startswith(f"theirs/metrics.jsonl is in {logs / 'theirs'}, which belongs to ") and "with --as-root" in said
    )
    assert "(uid 65534)" in said and "\n" not in said
    assert "with --as-root" in follower.offsets["theirs/metrics.jsonl"].trouble, "the run says it, too"
    follower.tail.close()
    rights.look_at_others()
    assert names_in(logs) == {"ours", "theirs"}


def file_of_theirs(logs: Path) -> None:
    write(logs / "odd" / "metrics.jsonl", SECRET)
    os.chown(logs / "odd" / "metrics.jsonl", NOBODY, NOBODY)


def link_of_theirs(logs: Path) -> None:
    write(logs / "odd" / "other.txt", "", NOBODY)
    link(logs / "odd" / "metrics.jsonl", "../.hidden/metrics.jsonl")


def link_in_a_folder_for_all(logs: Path) -> None:
    (logs / "odd").mkdir()
    (logs / "odd").chmod(0o1777)
    link(logs / "odd" / "metrics.jsonl", "../.hidden/metrics.jsonl")


def two_links(logs: Path) -> None:
    write(logs / "odd" / "other.txt", "", NOBODY)
    link(logs / "odd" / "step", "../.hidden/metrics.jsonl")
    link(logs / "odd" / "metrics.jsonl", "step", 0)


def linked_folder(logs: Path) -> None:
    link(logs / "odd", ".hidden")


def folder_for_all(logs: Path) -> None:
    write(logs / "odd" / "metrics.jsonl", SECRET)
    (logs / "odd").chmod(0o777)


def file_for_all(logs: Path) -> None:
    write(logs / "odd" / "metrics.jsonl", SECRET, mode=0o666)


def folder_of_a_group(logs: Path) -> None:
    write(logs / "odd" / "metrics.jsonl", SECRET)
    (logs / "odd").chmod(0o775)


def ours_in_theirs(logs: Path) -> None:
    write(logs / "odd" / "inner" / "metrics.jsonl", SECRET)
    os.chown(logs / "odd", NOBODY, NOBODY)


@pytest.mark.parametrize(
    "make",
    [
        file_of_theirs,
        link_of_theirs,
        link_in_a_folder_for_all,
        two_links,
        linked_folder,
        folder_for_all,
        file_for_all,
        folder_of_a_group,
        ours_in_theirs,
    ],
)
def test_without_the_flag_nothing_is_read_that_another_user_has_a_hand_in(
    make: Callable[[Path], None], logs: Path
) -> None:
    make(logs)
    assert names_in(logs) == {"ours"}


@pytest.mark.parametrize("make", [link_of_theirs, link_in_a_folder_for_all, two_links, linked_folder])
def test_with_the_flag_a_user_shows_nothing_that_this_user_may_not_read(
    make: Callable[[Path], None], logs: Path
) -> None:
    make(logs)
    rights.look_at_others()
    assert names_in(logs) == {"ours", "theirs"}
    (logs / ".hidden" / "metrics.jsonl").chmod(0o644)
    (logs / ".hidden").chmod(0o700)
    assert names_in(logs) == {"ours", "theirs"}, "nor by a folder that this user may not enter"
    (logs / ".hidden").chmod(0o755)
    if make is not linked_folder:
        assert names_in(logs) == {"ours", "theirs", "secret"}, "but what all may read"


@pytest.mark.parametrize("make", [file_of_theirs, folder_for_all, file_for_all, folder_of_a_group, ours_in_theirs])
def test_with_the_flag_files_that_are_really_there_are_read(make: Callable[[Path], None], logs: Path) -> None:
    make(logs)
    rights.look_at_others()
    assert names_in(logs) == {"ours", "theirs", "secret"}


def test_links_of_roots_own_lead_where_they_did(logs: Path) -> None:
    link(logs / "ours" / "train.log", "../texts/a.txt", 0)
    write(logs / "texts" / "a.txt", "hello\n")
    follower = Follower(logs)
    until(follower, lambda: any(isinstance(record, LogLine) for record in follower.records))
    follower.tail.close()


@pytest.mark.parametrize("as_root", [False, True])
def test_a_file_that_is_exchanged_for_a_link_while_it_is_opened_leads_nowhere(as_root: bool, logs: Path) -> None:
    rights.look_at_others(as_root)
    folder, ended = logs / "theirs", threading.Event()
    secret = (logs / ".hidden" / "metrics.jsonl").stat().st_ino

    def exchange() -> None:
        """As fast as it goes: the file, and the folder above it, each with a link and back."""
        while not ended.is_set():
            (folder / "metrics.jsonl").rename(folder / "kept")
            link(folder / "metrics.jsonl", "../.hidden/metrics.jsonl")
            (folder / "kept").replace(folder / "metrics.jsonl")
            folder.rename(logs / ".theirs")
            link(folder, ".hidden")
            folder.unlink()
            (logs / ".theirs").rename(folder)

    exchanging = threading.Thread(target=exchange)
    exchanging.start()
    until_s, opened, refused = time.monotonic() + 1.5, 0, 0
    while time.monotonic() < until_s:
        try:
            descriptor = open_file(folder / "metrics.jsonl", logs)
        except (OSError, NotRead):
            refused += 1
            continue
        opened += 1
        assert os.fstat(descriptor).st_ino != secret
        os.close(descriptor)
    ended.set()
    exchanging.join()
    assert refused and bool(opened) == as_root


def test_what_was_judged_is_what_is_opened(logs: Path) -> None:
    rights.look_at_others()
    path = logs / "theirs" / "metrics.jsonl"
    with open_resolved(path, logs) as found:
        path.unlink()
        link(path, "../.hidden/metrics.jsonl")
        descriptor = found.open(FLAGS)
    assert os.read(descriptor, 100).decode() == THEIRS
    os.close(descriptor)


def test_the_thread_has_its_own_rights_again(logs: Path) -> None:
    rights.look_at_others()
    link_of_theirs(logs)
    for _ in range(3):
        with pytest.raises(OSError):
            open_file(logs / "odd" / "metrics.jsonl", logs)
    assert (logs / ".hidden" / "metrics.jsonl").read_text() == SECRET and os.getgroups() == sorted(os.getgroups())


def test_a_database_is_read_with_the_rights_of_its_user(logs: Path) -> None:
    with sqlite3.connect(logs / ".hidden" / "trackio.db") as db:
        db.execute("CREATE TABLE metrics (id INTEGER, timestamp TEXT, run_name TEXT, step INTEGER, metrics TEXT)")
        db.execute("INSERT INTO metrics VALUES (1, '2025-11-25T10:00:00', 'a', 1, '{\"secret\": 0.5}')")
    db.close()
    (logs / ".hidden" / "trackio.db").chmod(0o600)
    link(logs / "theirs" / "trackio.db", "../.hidden/trackio.db")
    for as_root in (False, True):
        rights.look_at_others(as_root)
        assert "secret" not in names_in(logs)


def test_an_opener_of_root_refuses_what_lies_above(logs: Path) -> None:
    link(logs / "ours" / "a.log", "../../../etc/hostname", 0)
    with pytest.raises(LeftAlone, match="leaves the log folder"), open_resolved(logs / "ours" / "a.log", logs):
        pass


def test_a_dump_is_read_with_the_rights_of_the_process_that_names_it(logs: Path, tmp_path: Path) -> None:
    secret = tmp_path / "dump0"
    secret.write_bytes(b"}.")  # an empty table
    with of_theirs() as process:
        assert content_of(dump_of(process.pid, str(secret), 0.0)) == b"}."
        secret.chmod(0o600)
        assert dump_of(process.pid, str(secret), 0.0) is None
        secret.chmod(0o644)
        tmp_path.chmod(0o1777)
        assert dump_of(process.pid, str(secret), 0.0) is None, (
            "in a folder for all, another user's file is no dump of this process"
        )
        os.chown(secret, NOBODY, NOBODY)
        assert content_of(dump_of(process.pid, str(secret), 0.0)) == b"}."


def content_of(file: IO[bytes] | None) -> bytes:
    assert file is not None
    with file:
        return file.read()


def test_a_request_for_a_trace_is_written_nowhere_else(logs: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    write(logs / "theirs" / "run" / "run.json", "{}", NOBODY)
    os.chown(logs / "theirs" / "run" / "run.json", 0, 0)
    link(logs / "theirs" / ".deepseek", target)
    for as_root in (False, True):
        rights.look_at_others(as_root)
        with pytest.raises(NoEntry):
            ask_for_trace(logs / "theirs" / ".deepseek" / "traces" / "a", logs / "theirs" / "run", 3, 0)
    assert not [*target.iterdir()]
    write(logs / "ours" / "run.json", "{}")
    assert ask_for_trace(logs / ".deepseek" / "traces" / "a", logs / "ours", 3, 0), "root may ask its own"


def test_a_trace_of_theirs_is_read_with_their_rights(logs: Path) -> None:
    secret = write(logs / ".hidden" / "traces" / "a" / "trace-00000000.json", "{}", mode=0o600)
    path = logs / "theirs" / ".deepseek" / "traces" / "a" / "trace-00000000.json"
    write(path, "{}", NOBODY)
    for above in (path.parents[1], path.parents[2]):
        os.chown(above, NOBODY, NOBODY)
    with pytest.raises(MalformedTrace, match="--as-root"):
        read_answer(path)
    rights.look_at_others()
    with pytest.raises(MalformedTrace, match="not what RunLog writes"):
        read_answer(path)
    path.unlink()
    link(path, secret)
    with pytest.raises((MalformedTrace, OSError)) as raised:
        read_answer(path)
    assert "RunLog" not in str(raised.value)


def test_a_folder_of_checkpoints_that_leads_elsewhere_is_not_listed(logs: Path, tmp_path: Path) -> None:
    hidden = write(tmp_path / "hidden" / "secret.pt", "x").parent
    hidden.chmod(0o700)
    link(logs / "theirs" / "checkpoints", hidden)
    write(logs / "theirs" / "a.pt", "x", NOBODY)
    assert [found.name for found in checkpoints_of([], logs / "theirs", NOBODY)] == ["a.pt"]
