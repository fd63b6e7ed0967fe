"""What a program printed before the collector looked has the time at which it was printed."""

from __future__ import annotations

import errno
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from collectors.keeper import output
from collectors.keeper.output import RECORD, Stream, TimesFile, times_path
from collectors.logs import file as followed
from collectors.records import labels_of
from collectors.store.store import LogQuery, RawPoints, series_id
from tests.e2e.test_run_command import run
from tests.support.ingesting import Ingest
from tests.support.running import wait_for

LOSS = series_id("a", "loss", labels_of(host=socket.gethostname(), source="text"))
STEPS = 300
PRINTS = "import time\nfor i in range(300): print(f'step {i} loss {time.time()!r}', flush=True); time.sleep(.002)"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which every line was printed before anybody followed it; its losses are the seconds when that was."""
    folder = tmp_path_factory.mktemp("recorded")
    subprocess.run(run(sys.executable, "-c", PRINTS, folder=folder), stdout=subprocess.DEVNULL, check=True)
    return folder / "logs"


@pytest.fixture
def log(recorded: Path, tmp_path: Path) -> Path:
    """What it has printed, in a log folder of the test's own."""
    shutil.copytree(recorded, tmp_path / "logs")
    return tmp_path / "logs/a/output.log"


def losses(ingest: Ingest, steps: int = STEPS) -> RawPoints:
    ingest.until(lambda: (run := ingest.run("a")) and run.points >= steps, "not all are read")
    return ingest.store.points([LOSS], None, None, "step")[LOSS]


def timed(ingest: Ingest) -> RawPoints:
    return ingest.store.points([LOSS], None, None, "time")[LOSS]


def test_a_run_that_ended_before_it_was_read_has_all_its_times(log: Path, tmp_path: Path) -> None:
    ended_s = log.stat().st_mtime
    ingest = Ingest(tmp_path / "logs")
    assert len(losses(ingest).place) == STEPS
    found = timed(ingest)
    assert len(found.place) == STEPS and (np.diff(found.place) >= 0).all()
    assert (found.place > found.value - output.GAP_S - 0.01).all() and (found.place < ended_s + 0.1).all()
    lines = ingest.store.logs(LogQuery("a", limit=STEPS)).lines
    assert np.allclose([line.time_s for line in lines], found.place)
    assert times_path(log).stat().st_size % RECORD.size == 0
    ingest.close()


def test_the_times_go_on_where_a_tail_was_killed(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "BATCH_LINES", 37)
    whole = Ingest(tmp_path / "logs")
    losses(whole)
    expected = timed(whole)
    whole.close()
    again = Ingest(tmp_path / "logs")
    again.close()
    again.data_dir = tmp_path / "data-2"
    again.start()
    for _ in range(3 * STEPS // 37):
        again.turn()
        again.restart()
    losses(again)
    assert timed(again).place.tolist() == expected.place.tolist()
    again.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_side_file_costs_only_times(log: Path, tmp_path: Path, seed: int) -> None:
    side, chance = times_path(log), random.Random(seed)
    data = bytearray(side.read_bytes())
    match seed:
        case 0:
            side.unlink()
        case 1:
            side.unlink()
            os.mkfifo(side)
        case 2:
            side.unlink()
            side.symlink_to("/etc/passwd")
        case 3:
            side.write_bytes(bytes(len(data)))
        case 4:
            side.write_bytes(data[5:])
        case 5:
            with side.open("ab") as file:
                file.truncate(1 << 40)
        case _:
            for _ in range(len(data) // 20):
                data[chance.randrange(len(data))] = chance.randrange(256)
            side.write_bytes(data[: chance.randrange(len(data) // 2, len(data))])
    ingest = Ingest(tmp_path / "logs")
    began_s = losses(ingest).value[0]
    found = timed(ingest)
    assert ((found.place > began_s - 0.1) & (found.place < time.time())).all()
    assert (len(found.place) > 0) == (seed >= 6)
    assert len(ingest.store.logs(LogQuery("a", limit=STEPS)).lines) == STEPS
    ingest.close()


def test_records_that_cannot_be_are_left_out(tmp_path: Path) -> None:
    """Of another clock, of another file, or out of order: a file's claims are claims."""
    path, now_us = tmp_path / "output.log", time.time_ns() // 1000
    claims = [
        (0, now_us),
        (7, now_us + 10**12),
        (8, 5),
        (2**63, now_us),
        (9, 2**64 - 1),
        (12, now_us + 1),
        (11, now_us + 2),
    ]
    times_path(path).write_bytes(b"".join(RECORD.pack(*claim, claim[0] ^ claim[1] ^ output.CHECK) for claim in claims))
    found = followed.print_times_of(path, tmp_path, 100, now_us / 1e6)
    assert found.places.tolist() == [0, 12]
    assert found.parts([3, 10, 1], 5) == [(1, found.parts([1], 0)[0][1]), (2, found.parts([1], 50)[0][1])]


def test_a_full_disk_costs_times_and_no_byte_of_what_is_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "GAP_S", 0.0)
    room = [30]  # bytes, of which a record takes 24

    def pwrite(descriptor: int, data: bytes, place: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = os.write(descriptor, data[: room[0]]) if os.lseek(descriptor, place, os.SEEK_SET) >= 0 else 0
        room[0] -= count
        return count

    with monkeypatch.context() as patch:
        source, program = os.pipe()
        reader, target = os.pipe()
        stream = Stream(source, target, tmp_path / "output.log", terminal=False)
        patch.setattr(output.os, "pwrite", pwrite)
        for number in range(4):
            if number == 3:
                room[0] = 100
            os.write(program, b"line\n")
            assert stream.read()
        os.close(program)
        stream.flush()
        stream.close()
    assert os.read(reader, 100) == (tmp_path / "output.log").read_bytes() == b"line\n" * 4
    found = followed.print_times_of(tmp_path / "output.log", tmp_path, 20, 0.0)
    assert found.places.tolist() == [0, 15]


def test_a_place_where_no_times_can_be_kept_costs_nothing_else(tmp_path: Path) -> None:
    times = TimesFile(tmp_path / "gone" / ".output.log.times")
    times.note(0)
    times.close()


def test_a_month_of_output_takes_few_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record each 50 ms would be 50 million."""
    clock = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: clock[0])
    times = TimesFile(tmp_path / "times")
    while clock[0] < 30 * 86_400:
        clock[0] += max(0.05, clock[0] * 1e-5)  # as soon as one is due
        times.note(0)
    times.close()
    assert (tmp_path / "times").stat().st_size < 20 << 20


def test_what_is_printed_after_the_backlog_is_not_dated_before_it(tmp_path: Path) -> None:
    """The dashboard opens while the program prints: lines that come next are spread over the time since the backlog was read."""
    folder = tmp_path / "logs"
    folder.mkdir()
    with subprocess.Popen(
        run(sys.executable, "-c", PRINTS.replace(".002", ".02"), folder=tmp_path), stdout=subprocess.DEVNULL
    ):
        wait_for(lambda: len(list(folder.glob("a/output.log"))) and (folder / "a/output.log").stat().st_size > 500)
        ingest = Ingest(folder)
        losses(ingest)
    found = ingest.store.points([LOSS], None, None, "time")[LOSS]
    back = np.diff(found.value)
    assert (back >= 0).all(), (found.place - found.value)[np.flatnonzero(back < 0)[0] - 2 :][:6]
    ingest.close()
