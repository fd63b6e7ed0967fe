"""The queue over HTTP: what stands in its file, what the owner asks of its daemon, and one sentence where it cannot be."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from access.roles import Role
from access.tokens import Tokens
from dashboard.jobs import JobsReader
from jobs.state_folder import QUEUE
from tests.support.jobs_scene import JobsScene, answering, jobs_served
from tests.support.other_clients import PROXIED, Asked, ask
from tests.support.serving import Answer, Web

HOUR = 3600.0


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JobsScene, Web]]:
    with jobs_served(tmp_path_factory.mktemp("jobs")) as found:
        yield found


@pytest.fixture
def web(scene: tuple[JobsScene, Web]) -> Web:
    return scene[1]


def post(web: Web, what: str, **body: Any) -> Answer:
    return web.ask(f"/api/v1/jobs/{what}", "POST", json.dumps(body).encode())


def test_the_queue_says_what_runs_waits_and_why(web: Web) -> None:
    found = web.ask("/api/v1/jobs").json
    jobs = {row["job"]: row for row in found["jobs"]}
    assert (found["trouble"], found["over"], found["daemon"]) == ("", 5, None)
    assert {number: row["state"] for number, row in jobs.items()} == {
        4: "running", 6: "running", 7: "running", 9: "queued", 10: "queued", 11: "held",
    }  # fmt: skip
    assert (
        jobs[6]["beside"] == [7]
        and jobs[7]["beside"] == [6]
        and jobs[7]["speed"] == 0.93
        and jobs[6]["on"] == ["GPU 0"]
    )
    assert jobs[4]["on"] == ["GPU 2", "GPU 3"] and jobs[4]["stops"] == 1 and jobs[4]["attempts"] == 2
    assert jobs[9]["reason"].startswith("waits for 1 GPU") and jobs[9]["memory_mib"] == 40 * 1024
    assert jobs[10]["priority"] == "high" and jobs[10]["waited"] == pytest.approx(40 * 60, abs=30)
    assert shlex.split(jobs[10]["command"]) == jobs[10]["argv"]
    assert [slot["why"] for slot in found["slots"] if slot["foreign"]] == ["ada's process 4711 (python)"]


def test_a_run_is_named_as_the_dashboard_names_it(web: Web) -> None:
    assert web.ask("/api/v1/jobs/history", q="vit").json["jobs"][-1]["run"] == "vit-1"
    assert "vit-1" in [row["run"] for row in web.ask("/api/v1/runs").json["runs"]]


def test_a_run_outside_of_the_log_folder_has_no_link(tmp_path: Path) -> None:
    scene = JobsScene(tmp_path / "queue", tmp_path / "elsewhere")
    scene.submit(["python", "train.py"], 5.0)
    reader = JobsReader(tmp_path / "logs", scene.folder)
    (row,) = reader.now().jobs
    assert row.run == "train-1" and reader.run_of(row) is None
    scene.close()


def test_history_is_found_filtered_and_turned_by_pages(web: Web) -> None:
    def numbers(**asked: object) -> list[int]:
        return [row["job"] for row in web.ask("/api/v1/jobs/history", **asked).json["jobs"]]

    assert numbers() == [8, 5, 3, 2, 1]
    first = web.ask("/api/v1/jobs/history", limit=2).json
    assert [row["job"] for row in first["jobs"]] == [8, 5] and first["before"] == 5
    second = web.ask("/api/v1/jobs/history", limit=3, before=first["before"]).json
    assert [row["job"] for row in second["jobs"]] == [3, 2, 1] and second["before"] is None
    assert numbers(q="PREPARE") == [3] and numbers(q="%") == [] and numbers(state="failed") == [3]
    assert numbers(state=["failed", "cancelled"]) == [8, 3]
    assert web.ask("/api/v1/jobs/history", state="lost").status == 400


def test_a_job_has_its_attempts(web: Web) -> None:
    found = web.ask("/api/v1/job", id=4).json
    first, second = found["attempts"]
    assert (first["why"], first["because"], first["number"], first["slots"]) == ("preempted", 5, 1, ["gpu-2", "gpu-3"])
    assert second["end"] is None and found["job"]["kept"] == 60 * 158
    nothing = web.ask("/api/v1/job", id=99)
    assert nothing.status == 404 and "no job 99" in nothing.json["error"]
    assert web.ask("/api/v1/job", id=2**63).status == 400


def test_attempts_of_a_window_are_those_that_reach_into_it(web: Web) -> None:
    lo = time.time() - 2 * HOUR
    found = web.ask("/api/v1/jobs/attempts", from_=lo).json
    assert {(row["job"], row["number"]) for row in found["attempts"]} == {(4, 2), (6, 1), (7, 1)}
    assert [slot["name"] for slot in found["slots"]] == ["GPU 0", "GPU 1", "GPU 2", "GPU 3"] and not found["left_out"]


def test_first_in_first_out_stands_beside_it(web: Web) -> None:
    found = web.ask("/api/v1/jobs/fifo", span=24 * HOUR).json["found"]
    assert found["jobs"] == 9, "neither the one that was cancelled before it ran nor the one on hold"
    assert found["queue"]["longest_wait"] == pytest.approx(64 * 60, abs=30) and 0 < found["fifo"]["busy"] <= 1
    assert len(found["sentences"]) == 3 and found["sentences"][0].startswith("The 9 jobs")
    assert web.ask("/api/v1/jobs/fifo", span=60).json == {"found": None}


def test_the_signature_changes_with_the_queue_and_its_daemon(scene: tuple[JobsScene, Web]) -> None:
    queue, web = scene
    before = web.ask("/api/v1/jobs/signature").json
    assert web.ask("/api/v1/jobs/signature").json == before == {"signature": web.ask("/api/v1/jobs").json["signature"]}
    queue.look(time.time(), {1: "ada's process 4711 (python)"})
    after = web.ask("/api/v1/jobs/signature").json
    assert after != before
    with answering(queue):
        assert web.ask("/api/v1/jobs/signature").json != after
        assert web.ask("/api/v1/jobs").json["daemon"] == os.getpid()


def test_without_a_daemon_each_change_is_one_sentence_and_makes_nothing(web: Web, tmp_path: Path) -> None:
    wanted = {"argv": ["true"], "cwd": str(tmp_path)}
    for answer in (post(web, "submit", **wanted), *(post(web, what, job=9) for what in ("hold", "release", "cancel"))):
        assert answer.status == 400 and "deepseek-jobs daemon" in answer.json["error"], answer.body
    assert not list(tmp_path.iterdir())


def test_a_job_is_submitted_held_released_and_cancelled(scene: tuple[JobsScene, Web], tmp_path: Path) -> None:
    queue, web = scene
    with answering(queue) as asked:
        found = post(
            web, "submit", argv=["sh", "-c", "echo $HOME; rm -rf x"], cwd=str(tmp_path), log_dir=str(tmp_path / "logs"), slots=2,
            memory="20GiB", priority="high", share=True, resume_with="sh -c 'echo again'", name="sweep", env=["GIVEN=1"],
        )  # fmt: skip
        assert found.status == 200, found.body
        job = found.json["job"]
        request = next(each["request"] for each in asked if each["do"] == "submit")
        assert request["argv"] == ["sh", "-c", "echo $HOME; rm -rf x"] and request["resume_argv"] == [
            "sh",
            "-c",
            "echo again",
        ]
        assert (request["slots"], request["declared_mib"], request["high"], request["shares"]) == (
            2,
            20480.0,
            True,
            True,
        )
        assert request["environment"]["GIVEN"] == "1" and "DEEPSEEK_JOBS_DIR" not in request["environment"]
        row = web.ask("/api/v1/job", id=job).json["job"]
        assert (row["state"], row["name"], row["cwd"], row["resumes"]) == (
            "queued",
            f"sweep-{job}",
            str(tmp_path),
            True,
        )
        assert (
            post(web, "hold", job=job).status == 200 and web.ask("/api/v1/job", id=job).json["job"]["state"] == "held"
        )
        again = post(web, "hold", job=job)
        assert again.status == 400 and "is held" in again.json["error"]
        assert post(web, "release", job=job).status == 200
        assert post(web, "cancel", job=job).json == {"job": job, "ran": False}
        assert web.ask("/api/v1/job", id=job).json["job"]["state"] == "cancelled"
        split = post(web, "submit", command="sh -c 'exit 3' \"a b\"", cwd=str(tmp_path))
        assert web.ask("/api/v1/job", id=split.json["job"]).json["job"]["argv"] == ["sh", "-c", "exit 3", "a b"]
        post(web, "cancel", job=split.json["job"])


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"argv": []}, "is empty"),
        ({"argv": ["no-such-program"]}, "not in PATH"),
        ({"argv": ["./missing.sh"]}, "does not exist"),
        ({"argv": ["true"], "command": "true"}, "either argv"),
        ({}, "either argv"),
        ({"command": "python 'train.py"}, "cannot be split"),
        ({"argv": ["true"], "cwd": "relative"}, "whole path"),
        ({"argv": ["true"], "cwd": "/nowhere/at/all"}, "no folder of this host"),
        ({"argv": ["true"], "cwd": "/" + "x" * 4000}, "cannot be used"),
        ({"argv": ["true", "a\0b"]}, "NUL byte"),
        ({"argv": ["true"], "cwd": "/tmp\0"}, "NUL byte"),
        ({"argv": ["true"], "memory": "much"}, "--memory"),
        ({"argv": ["true"], "slots": 0}, "slots"),
        ({"argv": ["true"], "slots": True}, "slots"),
        ({"argv": ["true"], "priority": "urgent"}, "priority"),
        ({"argv": ["true"], "name": "../up"}, "no name of a run"),
        ({"argv": ["true"], "log_dir": "/proc/logs"}, "log folder"),
        ({"argv": ["true"], "env": ["NOT_SET_ANYWHERE"]}, "no variable NOT_SET_ANYWHERE"),
        ({"argv": "true"}, "argv"),
        ({"argv": ["true"], "shell": True}, "shell"),
    ],
)
def test_what_cannot_be_submitted_is_one_sentence(
    scene: tuple[JobsScene, Web], tmp_path: Path, wanted: dict[str, Any], said: str
) -> None:
    queue, web = scene
    with answering(queue) as asked:
        answer = post(web, "submit", **{"cwd": str(tmp_path), **wanted})
    assert answer.status == 400 and set(answer.json) == {"error"} and said in answer.json["error"], answer.body
    assert "submit" not in [each["do"] for each in asked]


@pytest.mark.parametrize("job", [0, -1, 2**63, "9", 9.5, None, True])
def test_a_number_that_is_none_is_refused(web: Web, job: object) -> None:
    assert post(web, "cancel", job=job).status == 400


def test_the_queue_is_the_owners(scene: tuple[JobsScene, Web], tmp_path: Path) -> None:
    queue, web = scene
    secret = Tokens(queue.log_dir.parent / "data").new("v", Role.VIEWER, None, {"grants": ["details", "processes"]})
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json", **PROXIED}
    for noun in (
        "jobs",
        "jobs/signature",
        "jobs/history",
        "jobs/slots",
        "jobs/attempts?from=0",
        "jobs/fifo",
        "job?id=4",
    ):
        assert ask(web.port, Asked("GET", f"/api/v1/{noun}", headers)).status == 403, noun
    for what in ("submit", "hold", "release", "cancel"):
        assert ask(web.port, Asked("POST", f"/api/v1/jobs/{what}", headers, '{"job": 9}')).status == 403
    page = ask(web.port, Asked("GET", "/jobs", headers))
    assert page.status == 403 and "the owner" in page.text
    assert "/jobs" not in ask(web.port, Asked("GET", "/", headers)).text
    foreign = {"Content-Type": "application/json", "Origin": "http://evil.example"}
    assert ask(web.port, Asked("POST", "/api/v1/jobs/cancel", foreign, '{"job": 9}')).status == 403


def test_no_queue_yet_is_an_empty_one(tmp_path: Path) -> None:
    reader = JobsReader(tmp_path, tmp_path / "none")
    now = reader.now()
    assert (now.jobs, now.slots, now.over, now.trouble, now.daemon) == ([], [], 0, "", None)
    assert reader.beside_fifo(HOUR) is None and reader.history(5).jobs == [] and reader.attempts(0.0) == ([], False)


def test_a_queue_that_cannot_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with jobs_served(tmp_path / "served", lambda scene, now_s: None) as (scene, web):
        scene.close()
        for path in scene.folder.glob(f"{QUEUE}*"):
            path.unlink()
        (scene.folder / QUEUE).write_bytes(b"no database" * 500)
        for spoilt in ("cannot read", "other users may write"):
            if spoilt.startswith("other"):
                scene.folder.chmod(0o777)
            assert spoilt in web.ask("/api/v1/jobs").json["trouble"]
            for noun in ("jobs/history", "jobs/slots", "jobs/fifo", "job?id=4", "jobs/attempts?from=0"):
                answer = web.ask(f"/api/v1/{noun}")
                assert answer.status == 400 and spoilt in answer.json["error"], noun
            answer = post(web, "cancel", job=1)
            assert answer.status == 400


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_queue_is_one_sentence(tmp_path: Path) -> None:
    scene = JobsScene(tmp_path / "queue", tmp_path)
    scene.close()
    os.chown(scene.folder, 65534, 65534)
    now = JobsReader(tmp_path, scene.folder).now()
    assert "belongs to" in now.trouble and "DEEPSEEK_JOBS_DIR" in now.trouble and now.jobs == []
