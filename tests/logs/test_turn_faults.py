"""An error at any call inside a turn of the tail costs nobody a line."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from collectors import supervisor as supervising
from collectors.logs import tail as aside
from collectors.logs.file import FollowedFile
from collectors.logs.tail import Tail
from collectors.records import LogLine, Offset, Points, Record, labels_of
from collectors.store.engines import open_store
from collectors.store.sqlite.engine import SqliteStore
from collectors.store.store import LogQuery, series_id
from collectors.supervisor import Supervisor
from tests.conftest import wait_for
from tests.support.ingesting import Ingest
from tests.support.ingesting import ingest as ingest  # a fixture
from tests.support.turn_faults import ERRORS, Place, Scene, errors_at, insert_row, noting, raising

EVERY = 16  # call of a turn is looked at in the short suite
closed_generators_raise = pytest.mark.filterwarnings(  # where the call at fault is the closing of a generator
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.fixture
def faults(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(aside, "BACK_OFF_S", (0.0, 0.0))
    ingest.may_fail = True
    yield Scene(ingest)


def start_anew(scene: Scene) -> None:
    scene.ingest.restart()
    scene.append()


PHASES: dict[str, Callable[[Scene], None]] = {
    "lines are appended": Scene.append,
    "a run is new": Scene.new_run,
    "files are replaced": Scene.rewrite,
    "the collector starts": start_anew,
}


@closed_generators_raise
@pytest.mark.parametrize("phase", PHASES)
def test_an_error_at_a_call_inside_a_turn_loses_no_line_and_stores_none_twice(phase: str, faults: Scene) -> None:
    places = calls_of(PHASES[phase], faults)
    first = list(PHASES).index(phase)
    inject(PHASES[phase], faults, [place for place in places if not place[1]][first::EVERY])


@pytest.mark.long
@pytest.mark.timeout(1800)
@closed_generators_raise
@pytest.mark.parametrize("phase", PHASES)
def test_an_error_at_any_call_inside_a_turn_loses_no_line_and_stores_none_twice(phase: str, faults: Scene) -> None:
    inject(PHASES[phase], faults, calls_of(PHASES[phase], faults))


def calls_of(begin: Callable[[Scene], None], faults: Scene) -> list[Place]:
    """All that are made in the turns after it has begun."""
    places: dict[Place, None] = {}
    faults.new_run()
    faults.check()
    faults.ingest.around = lambda: noting(places)
    for _ in range(2):
        begin(faults)
        faults.check()
    faults.ingest.around = contextlib.nullcontext
    assert len(places) > 200
    return [*places]


def inject(begin: Callable[[Scene], None], faults: Scene, places: list[Place]) -> None:
    ingest, kinds, raised = faults.ingest, cycle(range(len(ERRORS))), 0
    for number, (place, kind) in enumerate(zip(places, kinds, strict=False)):
        error = errors_at(place, kind)
        begin(faults)
        hits: list[Exception] = []
        ingest.around = partial(raising, place, error, hits)
        for _ in range(4):  # an error is raised by the turn after the one in which it was, and then the tail goes back
            ingest.turn()
        raised += bool(hits)
        ingest.around = contextlib.nullcontext
        if number % 10 == 9:
            ingest.until(faults.is_newest_stored, faults.differences)
    faults.check()
    assert raised > len(places) / 2


class FailingTail(Tail):
    """Raises what it is told to, at the end of a turn."""

    fault: Exception | None = None

    def _let_go(self) -> None:
        super()._let_go()
        if self.fault is not None:
            raise self.fault


class ForgetfulTail(Tail):
    """Loses the records of a turn, and does not say so."""

    loses: type[Record] | None = None
    """The next one in which there is a record of this kind."""

    def collect(self) -> list[Record]:
        found = super().collect()
        if self.loses is not None and any(isinstance(record, self.loses) for record in found):
            self.loses = None
            return []
        return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "BACK_OFF_S", (0.05, 0.1))
    monkeypatch.setattr(aside, "BACK_OFF_S", (0.05, 0.1))


@contextlib.contextmanager
def supervised(kind: type[Tail], root: Path, store: SqliteStore) -> Iterator[tuple[Tail, Supervisor]]:
    wake = threading.Event()
    tail = kind(root, "box", store.offsets(), wake)
    supervisor = Supervisor(store, on_stale=lambda error: None)
    supervisor.add(tail, wake)
    supervisor.start()
    try:
        yield tail, supervisor
    finally:
        supervisor.stop()


def lines_of(store: SqliteStore) -> list[str]:
    return sorted(line.text for line in store.logs(LogQuery(limit=10_000)).lines)


def write(root: Path, *texts: str) -> None:
    for run in ("a", "b"):
        (root / run).mkdir(parents=True, exist_ok=True)
        with (root / run / "train.log").open("a") as file:
            file.writelines(f"{run} {text}\n" for text in texts)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.usefixtures("quick")
def test_what_was_read_before_a_turn_failed_is_stored_and_health_names_the_error(
    error: Exception, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "data", write=True)
    write(tmp_path / "logs", "one")
    with supervised(FailingTail, tmp_path / "logs", store) as (tail, supervisor):
        wait_for(lambda: lines_of(store) == ["a one", "b one"], 30)
        tail.fault = error
        write(tmp_path / "logs", "two")
        wait_for(lambda: supervisor.health()[0].state == "failing", 30)
        write(tmp_path / "logs", "three")
        wait_for(lambda: len(lines_of(store)) >= 6, 30)
        wait_for(lambda: supervisor.health()[0].state == "failing", 30)
        assert type(error).__name__ in supervisor.health()[0].last_error
        tail.fault = None
        wait_for(lambda: supervisor.health()[0].state == "ok", 30)
    assert lines_of(store) == sorted(f"{run} {text}" for run in "ab" for text in ("one", "two", "three"))
    store.close()


@pytest.mark.usefixtures("quick")
def test_what_is_lost_between_the_tail_and_the_store_is_noticed_and_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_store(tmp_path / "data", write=True)
    write(tmp_path / "logs", "one")
    with supervised(ForgetfulTail, tmp_path / "logs", store) as (tail, _):
        wait_for(lambda: len(lines_of(store)) == 2, 30)
        tail.loses = LogLine
        write(tmp_path / "logs", "two")
        wait_for(lambda: tail.loses is None, 30)
        write(tmp_path / "logs", "three")
        wait_for(lambda: len(lines_of(store)) >= 6, 30)
        wait_for(lambda: not tail.trouble(), 30)
    assert lines_of(store) == sorted(f"{run} {text}" for run in "ab" for text in ("one", "two", "three"))
    assert "begins at position" in caplog.text
    store.close()


@pytest.mark.usefixtures("quick")
def test_rows_of_a_database_that_are_lost_on_their_way_are_read_again(tmp_path: Path) -> None:
    """Though rows of another run come next, and their run writes no more."""

    def steps_of(run: str) -> list[float]:
        ids = [series_id(f"rows/{run}", "loss", labels_of(host="box"))]
        return [step for points in store.points(ids, None, None, "step").values() for step in points.step.tolist()]

    store = open_store(tmp_path / "data", write=True)
    database = tmp_path / "logs" / "rows.db"
    database.parent.mkdir()
    insert_row(database, "one", 1)
    with supervised(ForgetfulTail, tmp_path / "logs", store) as (tail, _):
        wait_for(lambda: steps_of("one") == [1], 30)
        tail.loses = Points
        insert_row(database, "one", 2)
        wait_for(lambda: tail.loses is None, 30)
        insert_row(database, "two", 3)
        wait_for(lambda: steps_of("two") == [3] and steps_of("one") == [1, 2], 30)
        wait_for(lambda: not tail.trouble(), 30)
    assert steps_of("one") == [1, 2] and steps_of("two") == [3]
    store.close()


class UnluckyStore(SqliteStore):
    """Commits, and says that it failed: as where memory ends between the two."""

    fails = False

    def append(self, records: Iterable[Record]) -> int:
        seq = super().append(records)
        if self.fails:
            self.fails = False
            raise MemoryError
        return seq


@pytest.mark.usefixtures("quick")
def test_what_was_stored_although_the_store_failed_is_not_stored_twice(tmp_path: Path) -> None:
    store = UnluckyStore(tmp_path / "data", write=True)
    write(tmp_path / "logs", "one")
    with supervised(Tail, tmp_path / "logs", store) as (tail, supervisor):
        wait_for(lambda: len(lines_of(store)) == 2, 30)
        store.fails = True
        write(tmp_path / "logs", "two")
        wait_for(lambda: not store.fails, 30)
        write(tmp_path / "logs", "three")
        wait_for(lambda: len(lines_of(store)) >= 6 and not tail.trouble() and supervisor.health()[0].state == "ok", 30)
    assert lines_of(store) == sorted(f"{run} {text}" for run in "ab" for text in ("one", "two", "three"))
    store.close()


@pytest.mark.usefixtures("quick")
def test_an_offset_that_cannot_be_stored_holds_up_its_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lines are not stored without it: they would be read again, and come twice."""
    real = FollowedFile.as_record

    def odd(file: FollowedFile) -> Offset:
        record = real(file)
        return record._replace(state={"text": "\ud800"}) if record.path == "a/train.log" else record

    store = open_store(tmp_path / "data", write=True)
    with supervised(Tail, tmp_path / "logs", store) as (tail, supervisor):
        with monkeypatch.context() as broken:
            broken.setattr(FollowedFile, "as_record", odd)
            write(tmp_path / "logs", "one")
            wait_for(lambda: "a/train.log cannot be stored" in tail.trouble(), 30)
            write(tmp_path / "logs", "two")
            wait_for(lambda: [line for line in lines_of(store) if line.startswith("b")] == ["b one", "b two"], 30)
            assert not any(line.startswith("a") for line in lines_of(store)) and supervisor.health()[0].last_error
        wait_for(lambda: len(lines_of(store)) >= 4, 30)
    assert lines_of(store) == ["a one", "a two", "b one", "b two"]
    store.close()
