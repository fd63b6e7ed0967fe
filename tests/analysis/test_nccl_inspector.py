"""Files of NCCL's Inspector, described after its source (plugins/profiler/inspector/inspector_json.cc and inspector.cc of NVIDIA/nccl)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.logs.formats.nccl_inspector import InspectorFile
from collectors.records import SAMPLED_S, SAMPLED_SEQUENCE, LogLine, Points
from tests.support.following import Follower, until

AT_US = 1_764_000_000_000_000
WORLD, PAIR = "0x7f8c496ae9f661", "0x11aa"


def header(rank: int, ranks: int = 8, communicator: str = WORLD) -> dict[str, Any]:
    return {"id": communicator, "rank": rank, "n_ranks": ranks, "nnodes": 1}


def metadata(version: str, at_us: int) -> dict[str, Any]:
    return {
        "inspector_output_format_version": version,
        "git_rev": "",
        "rec_mechanism": "nccl_profiler_interface",
        "dump_timestamp_us": at_us,
        "hostname": "far",
        "pid": 7,
    }


def collective(sequence: int, us: int, gb_per_s: float = 100.0) -> dict[str, Any]:
    return {
        "coll": "AllReduce",
        "coll_sn": sequence,
        "coll_msg_size_bytes": 1 << 20,
        "coll_exec_time_us": us,
        "coll_timing_source": "kernel_gpu",
        "coll_algobw_gbs": gb_per_s / 1.75,
        "coll_busbw_gbs": gb_per_s,
    }


def dump(
    version: str, about: dict[str, Any], times_us: list[int], at_us: int = AT_US, dropped: int = 0
) -> Iterator[dict[str, Any]]:
    """The lines of one communicator, as the version writes them."""
    context = {"header": about, "metadata": metadata(version, at_us)}
    if version not in ("v4.0", "v4.1"):
        counts = {"coll_records": len(times_us), "coll_dropped_since_last_dump": dropped, "p2p_records": 0}
        yield {**context, "dump_stats": counts}
    for sequence, us in enumerate(times_us):
        yield {**({} if version == "v4.3" else context), "coll_perf": collective(sequence, us)}


def lines(rows: Iterator[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(row).encode() for row in rows]


def values(records: list[Any]) -> list[tuple[str, str, dict[str, float]]]:
    """Rank, communicator and the sums that were measured."""
    found = []
    for one in records:
        if isinstance(one, Points) and SAMPLED_S not in one.names:
            labels = dict(one.labels)
            found.append(
                (labels.get("rank", "0"), labels["communicator"], dict(zip(one.names, one.values, strict=True)))
            )
    return found


@pytest.mark.parametrize("version", ["v4.0", "v4.1", "v4.2", "v4.3"])
def test_collectives_of_a_second_are_one_point_in_each_version(version: str) -> None:
    file = InspectorFile("a", {})
    point, *_ = file.parse(lines(dump(version, header(3), [1_000, 3_000])), None)
    assert isinstance(point, Points) and point.time_s == AT_US / 1e6 and point.step is None
    assert dict(point.labels) == {"host": "far", "rank": "3", "communicator": WORLD}
    assert dict(zip(point.names, point.values, strict=True)) == pytest.approx(
        {"nccl/collective_s": 0.004, "nccl/bus_bytes_per_s": 100e9}
    )


def sampled(records: list[Any]) -> dict[tuple[str, int], float]:
    """Seconds by kind and sequence number."""
    found = {}
    for one in records:
        if isinstance(one, Points) and one.names == (SAMPLED_SEQUENCE, SAMPLED_S):
            found[dict(one.labels)["collective"], int(one.values[0])] = one.values[1]
    return found


def test_ranks_sample_the_same_collectives_however_many_each_wrote_in_a_second() -> None:
    first = sampled(InspectorFile("a", {}).parse(lines(dump("v4.3", header(0), [1_000] * 2_000)), None))
    later = [row for second in range(4) for row in dump("v4.3", header(1), [3_000] * 500, AT_US + second * 1_000_000)]
    for place, row in enumerate(row for row in later if "coll_perf" in row):
        row["coll_perf"]["coll_sn"] = place
    second = sampled(InspectorFile("a", {}).parse(lines(iter(later)), None))
    assert 1 <= len(first) <= 4 and 4 <= len(second) <= 16
    assert first.keys() <= second.keys(), "half as many a second: a part of those"
    assert set(first.values()) == {0.001} and set(second.values()) == {0.003}


def test_a_sample_has_each_place_of_a_step() -> None:
    """Sixteen collectives a step: not always the same of them."""
    file, places = InspectorFile("a", {}), set[int]()
    for second in range(50):
        rows = list(dump("v4.3", header(0), [1_000] * 160, AT_US + second * 1_000_000))
        for row in rows[1:]:
            row["coll_perf"]["coll_sn"] += second * 160
        places |= {sequence % 16 for _, sequence in sampled(file.parse(lines(iter(rows)), None))}
    assert places == set(range(16))


def test_only_collectives_in_which_each_rank_needs_all_others_are_sampled() -> None:
    rows = list(dump("v4.3", header(0), [1_000]))
    rows += [{"coll_perf": {**collective(7, 5), "coll": kind}} for kind in ("Broadcast", "Reduce", "AllGather", [])]
    rows += [{"coll_perf": {**collective(7, 5), "coll_sn": number}} for number in (-1, "x", None, 1 << 60)]
    assert sampled(InspectorFile("a", {}).parse(lines(iter(rows)), None)).keys() == {("AllReduce", 0), ("AllGather", 7)}


def test_a_file_that_begins_in_the_middle_of_a_dump_is_read_from_the_next_one() -> None:
    """As a rotation leaves it: the communicator of the first lines is in the file before."""
    before = lines(dump("v4.3", header(3), [1_000, 2_000, 4_000]))
    after = lines(dump("v4.3", header(3), [500], AT_US + 1_000_000))
    file = InspectorFile("a", {})
    found = file.parse([before[2][40:], before[3], *after], None)
    assert [measured["nccl/collective_s"] for _, _, measured in values(found)] == pytest.approx([0.0005])
    assert file.tally.lines_skipped == 2


def test_a_file_that_is_cut_anywhere_goes_on_where_it_was_cut() -> None:
    rows = lines(dump("v4.3", header(3), [1_000, 2_000, 4_000])) + lines(dump("v4.3", header(1, 2, PAIR), [500]))
    for cut in range(len(rows) + 1):
        first = InspectorFile("a", {})
        found = first.parse(rows[:cut], None)
        found += InspectorFile("a", json.loads(json.dumps(first.state()))).parse(rows[cut:], None)
        sums: dict[tuple[str, str], float] = {}
        for rank, communicator, measured in values(found):
            key = rank, communicator
            sums[key] = sums.get(key, 0.0) + measured.get("nccl/collective_s", 0.0)
        assert sums == pytest.approx({("3", WORLD): 0.007, ("3", PAIR): 0.0005})


def test_dropped_collectives_are_counted() -> None:
    ((_, _, measured),) = values(
        InspectorFile("a", {}).parse(lines(dump("v4.2", header(0), [1_000], dropped=512)), None)
    )
    assert measured["nccl/dropped"] == 512


def test_lines_that_say_nothing_of_collectives_cost_nothing_else() -> None:
    file = InspectorFile("a", {})
    broken = [
        b"{",
        b"[]",
        b'{"coll_perf": {"coll_exec_time_us": 5}}',
        b'{"header": {"id": 5}, "metadata": {}, "coll_perf": {}}',
        json.dumps({"header": header(0), "metadata": metadata("v4.0", AT_US), "p2p_perf": {"p2p_sn": 1}}).encode(),
        json.dumps({"header": header(0), "metadata": metadata("v4.0", -1), "coll_perf": collective(0, 5)}).encode(),
        json.dumps({"header": header(0), "metadata": metadata("v4.0", AT_US), "coll_perf": collective(0, -5)}).encode(),
    ]
    found = file.parse([*broken, *lines(dump("v4.0", header(0), [1_000]))], None)
    assert [measured["nccl/collective_s"] for _, _, measured in values(found)] == pytest.approx([0.001])
    assert file.tally.lines_skipped == 5


def test_a_folder_in_a_run_is_the_runs_and_new_processes_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "nccl-inspector-123"
    folder.mkdir(parents=True)
    (tmp_path / "a" / "train.log").write_text("begin\n")
    (folder / "far-pid7.log").write_bytes(b"\n".join(lines(dump("v4.3", header(0), [1_000]))) + b"\n{")
    follower = Follower(tmp_path)
    until(follower, lambda: len(values(follower.records)) == 1)
    (folder / "far-pid9.log").write_bytes(b"\n".join(lines(dump("v4.3", header(0, 8, "0x22"), [2_000]))) + b"\n")
    until(follower, lambda: len(values(follower.records)) == 2)
    assert {record.run for record in follower.records if isinstance(record, Points)} == {"a"}
    assert [communicator for _, communicator, _ in values(follower.records)] == [WORLD, "0x22"]
    assert {record.file for record in follower.records if isinstance(record, LogLine)} == {"train.log"}
