"""GPUs between users: two queues never start on one free GPU, and one that others use is taken (NVML is tests/fake_nvml)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from collectors.machine.proc import boot_id, start_ticks
from jobs import lease
from jobs.state_folder import QueueError
from tests import fake_nvml
from tests.support.jobs_house import NOBODY, JobsHouse, as_user
from tests.support.jobs_house import place as place  # a fixture
from tests.support.running import ROOT, wait_for

OTHER = 12345
needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can be two users")
NOTES = """
import os, time
with open(os.environ["NOTES"], "a") as notes:
    begun = time.time()
    time.sleep(0.3)
    notes.write(f"{os.environ['CUDA_VISIBLE_DEVICES']} {begun} {time.time()}\\n")
"""


def machine(place: Path, gpus: int, more: str = "") -> dict[str, str]:
    """The environment in which these GPUs are seen, by all users."""
    found = fake_nvml.environment(place / "nvml", f"gpus {gpus}\nat * 0 memory_total 80e9\n{more}")
    for path in [place / "nvml", *(place / "nvml").iterdir()]:
        path.chmod(0o777)
    return found


def house_of(place: Path, name: str, uid: int, environment: dict[str, str]) -> JobsHouse:
    house = JobsHouse(place / name, flags=(), uid=uid)
    if not (place / "leases").exists():
        lease.make_folder(place / "leases")
    house.environment |= environment | {"DEEPSEEK_JOBS_LEASES": str(place / "leases")}
    return house


@needs_root
def test_two_queues_never_start_on_one_free_gpu(place: Path) -> None:
    environment = machine(place, 2)
    notes = place / "notes"
    notes.touch()
    notes.chmod(0o666)
    place.chmod(0o777)
    houses = [house_of(place, "a", NOBODY, environment), house_of(place, "b", OTHER, environment)]
    try:
        for house in houses:
            house.start()
        jobs = [(house, house.python(NOTES, "--env", f"NOTES={notes}")) for _ in range(4) for house in houses]
        assert {house.wait(job)["state"] for house, job in jobs} == {"finished"}
    finally:
        for house in houses:
            house.close()
    spans = [(gpu, float(begun), float(ended)) for gpu, begun, ended in map(str.split, notes.read_text().splitlines())]
    assert len(spans) == 8 and len({gpu for gpu, *_ in spans}) == 2
    for place_, (gpu, begun, ended) in enumerate(spans):
        assert not [other for other in spans[:place_] if other[0] == gpu and other[1] < ended and begun < other[2]], (
            spans
        )
    assert [path for path in (place / "leases").iterdir() if not path.name.startswith(".")] == []


@needs_root
def test_a_gpu_with_a_process_of_others_is_taken(place: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        environment = machine(place, 2, f"process 0 {stranger.pid} 30e9 96 compute\n")
        house = house_of(place, "a", NOBODY, environment)
        try:
            house.start()
            jobs = [
                house.python("import os, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(60)")
                for _ in range(2)
            ]
            first, second = house.wait(jobs[0], "running"), house.wait_until(jobs[1], lambda row: bool(row["reason"]))
            slots = json.loads(house.done("queue", "--json"))["slots"]
            taken, free = (next(slot for slot in slots if slot["name"] == f"GPU {number}") for number in (0, 1))
            assert first["on"] == [free["id"]] and taken["foreign"] and f"(pid {stranger.pid})" in taken["why"]
            assert second["reason"].startswith("waits for 1 GPU")
            assert "and this host has 2: ask for at most 2" in house.refused("submit", "--gpus", "3", "--", "true")
            assert "the largest GPU has" in house.refused("submit", "--memory", "900GiB", "--", "true")
        finally:
            house.close()
            stranger.kill()


@needs_root
def test_a_job_that_waits_for_what_others_have_says_so_in_its_run(place: Path) -> None:
    """Until it can start; one that waits for another job of the queue is not stuck."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as stranger:
        environment = machine(place, 2, f"process 0 {stranger.pid} 30e9 96 compute\n")
        house = house_of(place, "a", NOBODY, environment)
        (house.folder / "rules.json").write_text(json.dumps({"look_s": 0.2, "stuck_s": 0.5}))
        try:
            house.start()
            first = house.python("import time; time.sleep(60)")
            house.wait(first, "running")
            second, both = house.python("print(1)"), house.python("print(2)", "--gpus", "2")
            run = house.logs / house.row(both)["run"]
            wait_for(lambda: [event for event in events(run) if event["kind"] == "stuck"], 20)
            (stuck,) = [event for event in events(run) if event["kind"] == "stuck"]
            assert "others use 1 of 2" in stuck["text"] and f"(pid {stranger.pid})" in stuck["text"]
            assert stuck["since_s"] <= stuck["time_s"] - 0.5
            assert [event["kind"] for event in events(house.logs / house.row(second)["run"])] == ["submitted"]
        finally:
            house.close()
            stranger.kill()


def events(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.queue.jsonl").read_text().splitlines()]


def test_a_lease_is_believed_while_the_kernel_confirms_it(tmp_path: Path) -> None:
    lease.make_folder(tmp_path / "leases")
    folder = tmp_path / "leases"
    assert lease.take(folder, ["GPU-1"], Path("7.1")) == ""
    assert [found.gpu for found in lease.confirmed_leases(folder)] == ["GPU-1"] and lease.foreign_leases(folder) == {}
    lease.give_back(folder, ["GPU-1"], Path("7.1"))
    mine = {"boot_id": boot_id(), "pid": os.getpid(), "ticks": start_ticks(os.getpid()), "held": True}
    odd = [{}, mine | {"boot_id": "x"}, mine | {"ticks": 1}, mine | {"pid": 2**31}, mine | {"pid": "1"}, [1]]
    for number, content in enumerate(odd):
        (folder / f"GPU-2.{os.geteuid()}.{number}.1").write_text(json.dumps(content))
    (folder / f"GPU-3.{os.geteuid() + 1}.1.1").write_text(json.dumps(mine))  # in another user's name
    (folder / f"GPU-4.{os.geteuid()}.1.1").symlink_to("/etc/passwd")
    os.mkfifo(folder / f"GPU-5.{os.geteuid()}.1.1")
    assert list(lease.confirmed_leases(folder)) == []


@needs_root
def test_a_lease_names_a_process_of_its_owner(tmp_path: Path) -> None:
    """Another user cannot take a GPU in the name of a process that is not theirs."""
    folder = tmp_path / "leases"
    lease.make_folder(folder)
    held = {"boot_id": boot_id(), "pid": 1, "ticks": start_ticks(1), "held": True}
    path = folder / f"GPU-1.{OTHER}.1.1"
    path.write_text(json.dumps(held))
    os.chown(path, OTHER, OTHER)
    assert lease.foreign_leases(folder) == {}


@needs_root
def test_what_another_user_holds_is_not_taken(place: Path) -> None:
    folder = place / "leases"
    lease.make_folder(folder)
    code = "import sys; from pathlib import Path; from jobs.host import lease; print(repr(lease.take(Path(sys.argv[1]), ['GPU-1'], Path('1.1'))), flush=True); input()"
    command = [*as_user(OTHER), sys.executable, "-c", code, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as other:
        assert other.stdout is not None and other.stdout.readline() == "''\n"
        assert lease.foreign_leases(folder) == {"GPU-1": OTHER}
        assert "was taken by" in lease.take(folder, ["GPU-0", "GPU-1"], Path("3.1"))
        assert [found.uid for found in lease.confirmed_leases(folder)] == [OTHER], "none of ours is left"
        other.kill()
    wait_for(lambda: lease.foreign_leases(folder) == {})
    assert lease.take(folder, ["GPU-1"], Path("3.1")) == ""


def test_a_folder_of_leases_that_is_not_open_to_all_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir(mode=0o755)
    with pytest.raises(QueueError, match="chmod 1777 it, or name another"):
        lease.make_folder(tmp_path / "leases")


@needs_root
def test_whose_the_folder_of_leases_is_is_said_unless_it_is_roots(tmp_path: Path) -> None:
    lease.make_folder(tmp_path / "leases")
    assert lease.owner_trouble(tmp_path / "leases") == ""
    os.chown(tmp_path / "leases", 65534, 65534)
    assert "chown root" in lease.owner_trouble(tmp_path / "leases")


@needs_root
def test_a_gpu_that_is_lost_stays_a_slot_that_is_taken(place: Path) -> None:
    environment = machine(place, 2)
    house = house_of(place, "a", NOBODY, environment)
    try:
        house.start()
        fake_nvml.Control(place / "nvml" / "control").shared.gpu_error[1] = 15
        until_s = time.monotonic() + 30
        while not [slot for slot in json.loads(house.done("queue", "--json"))["slots"] if slot["foreign"]]:
            assert time.monotonic() < until_s
            time.sleep(0.2)
        job = house.python("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
        assert house.wait(job)["state"] == "finished"
    finally:
        house.close()


def test_jobs_for_gpus_wait_where_the_driver_names_none_any_more(place: Path) -> None:
    """As after a boot, before the driver is there: on the cores they would fail, one after the other."""
    environment = machine(place, 2)
    house = house_of(place, "a", NOBODY, environment)
    try:
        house.start()
        assert house.wait(house.submit("true"))["state"] == "finished"
        house.kill_daemon()
        for name in environment:
            house.environment.pop(name)
        house.start()
        job = house.submit("true")
        row = house.wait_until(job, lambda row: bool(row["reason"]))
        assert (row["state"], row["attempts"]) == ("queued", 0), row
        assert row["reason"] == "waits for 1 GPU; the driver does not name 2 of 2"
        assert "3 GPUs, and this host has 2" in house.refused("submit", "--gpus", "3", "--", "true")
        said = house.done("explain", str(job))
        assert "GPU 1: the driver does not name it" in said and "--cores-a-slot" in said, said
        house.kill_daemon()
        house.environment |= environment
        house.start()
        assert house.wait(job)["state"] == "finished"
        house.kill_daemon()
        house.flags = ("--cores-a-slot", "1")
        house.start()
        assert house.wait(house.submit("true"))["state"] == "finished"
    finally:
        house.close()
