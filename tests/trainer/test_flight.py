"""The dumps of PyTorch's flight recorder: two ranks write them, one of which does not come to the last collective."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.dumps import MAX_GROUPS, FlightRank, flight_late_sentence, flight_ranks, flight_sentence
from analysis.findings.dumps import DumpReader, open_plain_file
from collectors.machine.run_state import RunProcess
from collectors.message import text_of

PROGRAM = """
import os, sys, torch, torch.distributed as dist
import torch._C._distributed_c10d as c10d
dist.init_process_group("gloo")
tensor = torch.ones(3)
for _ in range(3):
    dist.all_reduce(tensor)
rank = dist.get_rank()
if rank == 0:
    dist.all_reduce(tensor, async_op=True)  # rank 1 does not come
with open(os.environ["TORCH_FR_DUMP_TEMP_FILE"] + str(rank), "wb") as file:
    file.write(c10d._dump_fr_trace())
print("written", flush=True)
sys.stdin.read()
os._exit(0)
"""


def entry(number: int, operation: str = "nccl:all_reduce", state: str = "completed", line: int = 88) -> dict[str, Any]:
    frames = [
        {"name": "all_reduce", "filename": "/x/torch/distributed/c10d.py", "line": 1},
        {"name": "step", "filename": "/job/train.py", "line": line},
    ]
    return {
        "process_group": ("0", "default_pg"),
        "collective_seq_id": number,
        "profiling_name": operation,
        "state": state,
        "frames": frames,
        "is_p2p": False,
    }


@pytest.fixture(scope="module")
def reader() -> Iterator[DumpReader]:
    reader = DumpReader()
    yield reader
    reader.close()


def test_the_rank_that_did_not_come_is_named_by_real_dumps(tmp_path: Path, reader: DumpReader) -> None:
    prefix = f"{tmp_path}/trace_"
    common = os.environ | {
        "TORCH_FR_BUFFER_SIZE": "100",
        "TORCH_FR_DUMP_TEMP_FILE": prefix,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29641",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=common | {"RANK": str(rank), "WORLD_SIZE": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for process in running:
            assert process.stdout is not None and process.stdout.readline() == "written\n"
        ranks = reader.flight([RunProcess(process.pid, rank, 0) for rank, process in enumerate(running)], 0.0)
        assert [(row.rank, row.entered) for row in ranks] == [(0, 4), (1, 3)]
        sentence = text_of(flight_sentence(ranks))
        assert sentence.startswith("By the flight recorder rank 1 did not come to collective 4, gloo:all_reduce")
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_of_a_rank_only_so_many_groups_are_looked_at() -> None:
    dump = {"entries": [entry(1) | {"process_group": (str(number), "")} for number in range(5_000)]}
    assert len(flight_ranks({0: dump, 1: dump})) == 2 * MAX_GROUPS


def test_a_rank_that_calls_another_collective_is_named() -> None:
    dumps = {
        rank: {"entries": [entry(1), entry(2, "nccl:broadcast" if rank == 2 else "nccl:all_reduce", "started", 90)]}
        for rank in range(4)
    }
    assert (
        text_of(flight_sentence(flight_ranks(dumps)))
        == "By the flight recorder rank 2 calls nccl:broadcast at train.py:90 where the others call nccl:all_reduce."
    )
    assert flight_sentence(flight_ranks({0: {"entries": [entry(1)]}, 1: {"entries": [entry(1)]}})) is None


def timed(ms: Callable[[int, int], object], ranks: int, operation: str = "nccl:all_reduce") -> str:
    """What is said of a job whose collectives of each rank take so long, by rank and number."""
    dumps = {
        rank: {"entries": [{**entry(number, operation), "duration_ms": ms(rank, number)} for number in range(50)]}
        for rank in range(ranks)
    }
    return text_of(flight_late_sentence(flight_ranks(dumps)))


@pytest.mark.parametrize("ranks", [2, 8, 64])
def test_the_rank_that_came_last_before_is_named_where_collectives_were_timed(ranks: int) -> None:
    said = timed(lambda rank, number: 2.0 if rank == 1 else 9.0 + rank, ranks)
    assert said == "Before that, rank 1 came last into 50 of 50 collectives."


@pytest.mark.parametrize(
    "ms",
    [
        lambda rank, number: None,
        lambda rank, number: 5.0,
        lambda rank, number: 2.0 if rank == number % 8 else 9.0,
        lambda rank, number: 2.0 if rank == 1 and number > 40 else None if number < 40 else 9.0,
        lambda rank, number: 2.0 if rank == 1 else 9.0 if rank == 2 else None,
        lambda rank, number: [float("nan"), float("inf"), -1.0, 10**4000, "2", True][number % 6] if rank == 1 else 9.0,
    ],
    ids=["untimed", "equal", "in turn", "few", "two of eight ranks", "no times"],
)
def test_nobody_is_named_where_no_one_rank_comes_last(ms: Callable[[int, int], object]) -> None:
    assert timed(ms, 8) == ""


def test_times_are_read_from_a_dump(tmp_path: Path, reader: DumpReader) -> None:
    (tmp_path / "a").write_bytes(pickle.dumps({"entries": [{**entry(1), "duration_ms": 2.5}, entry(2)]}))
    assert [row.timed for row in read(reader, tmp_path / "a")] == [((1, 0.0025),)]


def test_a_broadcast_says_nothing_of_who_came_last() -> None:
    assert timed(lambda rank, number: 2.0 if rank == 1 else 9.0, 8, "nccl:broadcast") == ""


def test_a_file_that_would_run_something_is_not_read(tmp_path: Path, reader: DumpReader) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.system, (f"touch {tmp_path}/ran",))

    (tmp_path / "a").write_bytes(pickle.dumps({"entries": [Evil()]}))
    assert read(reader, tmp_path / "a") == [] and not (tmp_path / "ran").exists()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    assert (
        open_plain_file(f"{tmp_path}/link", 0.0, 1 << 20) is None
        and open_plain_file(f"{tmp_path}/pipe", 0.0, 1 << 20) is None
    )
    (tmp_path / "old").write_bytes(pickle.dumps({"entries": [entry(1)]}))
    assert open_plain_file(f"{tmp_path}/old", 2e9, 1 << 20) is None
    assert [row.entered for row in read(reader, tmp_path / "old")] == [1]


def read(reader: DumpReader, path: Path) -> list[FlightRank]:
    """Of a process whose environment names the file."""
    proc = path.parent / "proc"
    (proc / "7").mkdir(parents=True, exist_ok=True)
    uid, gid = os.getuid(), os.getgid()
    (proc / "7" / "status").write_text(
        f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\nGroups:\t\n"
    )
    (proc / "7" / "environ").write_bytes(b"TORCH_FR_DUMP_TEMP_FILE=" + os.fsencode(path))
    path.rename(f"{path}0")
    return reader.flight([RunProcess(7, 0, 0)], 0.0, proc)


def shared(levels: int) -> list[Any]:
    """Lists whose parts are the same: a few bytes, and a text of 2 ** levels."""
    deep: list[Any] = ["x"]
    for _ in range(levels):
        deep = [deep, deep]
    return deep


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04Nr" + (1 << 26).to_bytes(4, "little") + b".",
        b"\x80\x04Nr" + ((1 << 31) - 1).to_bytes(4, "little") + b".",
        *(
            pickle.dumps({"entries": [{**entry(1), name: value}]})
            for value in (shared(40), 10**4000)
            for name in ("process_group", "profiling_name", "collective_seq_id", "state", "frames")
        ),
        pickle.dumps({"entries": [{**entry(1), "process_group": [shared(40)]}]}),
        pickle.dumps({"entries": [{**entry(1), "frames": [{"filename": shared(40), "line": shared(40)}]}]}),
        pickle.dumps({"entries": [{**entry(1), "frames": [{"filename": "a.py", "line": shared(40)}]}]}),
    ],
    ids=str,
)
def test_a_small_file_that_costs_much_costs_the_collector_nothing(
    tmp_path: Path, reader: DumpReader, data: bytes
) -> None:
    (tmp_path / "a").write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu_s = time.process_time()
    assert len(read(reader, tmp_path / "a")) <= 1
    assert time.process_time() - cpu_s < 2.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "KiB"


ANY = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["entries", "process_group", "collective_seq_id", "frames", "state", "duration_ms", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.integers(0, 3), ANY, max_size=3))
def test_odd_dumps_are_left_out(dumps: dict[int, Any]) -> None:
    ranks = flight_ranks(dumps)
    assert isinstance(text_of(flight_sentence(ranks)) + text_of(flight_late_sentence(ranks)), str)


@pytest.mark.parametrize("data", [b"", b"\x80\x02", b"not a pickle", pickle.dumps(7)])
def test_broken_files_are_left_out(tmp_path: Path, reader: DumpReader, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert read(reader, tmp_path / "a") == []
