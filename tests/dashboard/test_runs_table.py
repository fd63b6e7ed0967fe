"""The table of runs: columns, order, groups, over runs as odd as they come."""

from __future__ import annotations

import csv
import datetime
import io
import math
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from analysis.directions import direction_of
from collectors.logs.tombstones import Tombstone, Tombstones
from collectors.records import Points, RunInfo, labels_of
from collectors.store.engines import open_store
from collectors.store.store import Store
from dashboard.api.table import csv_answer
from dashboard.mutations import Changes
from dashboard.queries import BadRequest, Queries
from dashboard.runs.columns import COLUMNS, STATES, Facts, Row, TableSetting, column_of, first_of, quantity_of, roles_of
from dashboard.runs.table import GroupRow, TableQuery, frame, grouped
from dashboard.user_files.run_notes import checked, of_program, save_about
from tests.support.odd_runs import HOST, HTML, T0, ask, cells, names, view_of
from tests.support.odd_runs import queries as queries  # a fixture
from tests.support.odd_runs import writer as writer  # a fixture

# Directions


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        *(
            (name, "down")
            for name in (
                "val/loss",
                "eval_loss",
                "Loss/train",
                "test/ppl",
                "wer",
                "eval/errorRate",
                "val/cross_entropy",
                "validation_mse",
            )
        ),
        *(
            (name, "up")
            for name in ("eval/f1", "valAcc", "accuracy", "reward/mean", "bleu", "test/exact_match", "eval/win_rate")
        ),
        *((name, None) for name in ("train/lr", "train/grad_norm", "epoch", "", "memory/peak_gib", "\x00", "a" * 9000)),
    ],
)
def test_the_name_says_which_values_are_better(name: str, direction: str | None) -> None:
    assert direction_of(name) == direction


def test_what_a_user_says_of_a_direction_comes_first_and_is_kept(queries: Queries, tmp_path: Path) -> None:
    assert cells(queries, "best.val/acc", "sweep/0") == 0.49
    assert Changes(queries).set_direction("val/acc", "down") == {"val/acc": "down"}
    assert cells(queries, "best.val/acc", "sweep/0") == 0 == cells(queries, "best", "sweep/0")
    assert "val/acc: down" in (tmp_path / "directions.yaml").read_text()
    assert Changes(queries).set_direction("val/acc", "") == {}
    assert cells(queries, "best.val/acc", "sweep/0") == 0.49
    for name, direction in (("", "up"), ("x", "sideways"), ("a\nb", "up"), ("x" * 201, "up")):
        with pytest.raises(BadRequest):
            Changes(queries).set_direction(name, direction)


# Cells


def test_the_best_value_is_that_of_the_validation_with_its_step(queries: Queries) -> None:
    assert [cells(queries, key, "sweep/0") for key in ("judged", "best", "best_step", "loss")] == [
        "val/acc",
        0.49,
        49,
        2.0 - 49 / 50,
    ]
    assert [cells(queries, key, "without steps") for key in ("judged", "best", "best_step")] == [None] * 3, (
        "a training loss is none"
    )
    assert [cells(queries, key, "empty") for key in ("judged", "best", "loss", "steps", "duration")] == [None] * 5


def test_several_ranks_are_one_run(queries: Queries) -> None:
    assert [cells(queries, f"{kind}.train/loss", "ranks") for kind in ("least", "most", "last")] == [1.0, 2.0, 2.0]


def test_progress_time_hours_and_cost_follow_from_steps_and_ranks(queries: Queries) -> None:
    assert [cells(queries, key, "sweep/0") for key in ("progress", "duration", "steps_per_s")] == [0.49, 60, 1.0]
    assert cells(queries, "gpu_hours", "sweep/0") == pytest.approx(2 * 60 / 3600)
    assert cells(queries, "cost", "sweep/0") is None
    Changes(queries).set_settings({"price_per_gpu_hour": 3.0})
    assert cells(queries, "cost", "sweep/0") == pytest.approx(2 * 60 / 3600 * 3)


def test_a_run_whose_text_counts_samples_has_their_rate_and_no_steps_a_second(queries: Queries, writer: Store) -> None:
    labels = labels_of(host="box", source="text")
    names = "loss", "progress/item", "progress/items_per_s"
    times = [0, 1, 2, 3, 4, 14]  # with a validation before the last
    writer.append(
        [Points("text", labels, names, (1.0, 640.0 * row, 640.0), T0 + at, None) for row, at in enumerate(times)]
    )
    assert [cells(queries, key, "text") for key in ("steps_per_s", "items_per_s")] == [None, 5 * 640 / 14], (
        "the mean, as that of steps"
    )


def test_a_run_whose_loss_counts_epochs_has_the_steps_of_its_other_series(queries: Queries, writer: Store) -> None:
    writer.append([RunInfo("epochs", {"config": {"max_steps": 2000}})])
    for epoch in range(10):
        steps = range(100 * epoch, 100 * epoch + 100)
        writer.append(
            [Points("epochs", HOST, ("lr", "train/tokens_per_s"), (0.1, 900.0), T0 + step / 4, step) for step in steps]
        )
        writer.append([Points("epochs", HOST, ("train/loss", "val/loss"), (0.5, 0.6), T0 + steps[-1] / 4, epoch)])
    assert [cells(queries, key, "epochs") for key in ("steps", "steps_per_s", "progress")] == [999, 4.0, 999 / 2000]


def test_tags_and_a_note_of_the_program_are_shown_until_a_user_says_otherwise(queries: Queries, writer: Store) -> None:
    def told(run: str) -> tuple[object, object]:
        return cells(queries, "tags", run), cells(queries, "note", run)

    writer.append(
        [RunInfo("tagged", {"tags": ["baseline", " b "], "note": "why"}), RunInfo("none", {"tags": [], "note": ""})]
    )
    assert (told("tagged"), told("none")) == ((("baseline", "b"), "why"), (None, None))
    assert queries.run("tagged").run.about.tags == ("baseline", "b")
    changes = Changes(queries)
    changes.set_about("tagged", {"name": "wide"})
    assert told("tagged") == (("baseline", "b"), "why"), "what was not changed stays"
    changes.set_about("tagged", {"tags": []})
    assert told("tagged") == (None, "why")
    writer.append([RunInfo("tagged", {"tags": ["again"], "note": "other"})])
    assert told("tagged") == (None, "why")


@pytest.mark.parametrize(
    "tags", ["text", 7, None, {"a": 1}, [7, None, ["a"]], ["x" * 51], ["a\nb"], ["\u200b"], [f"{i}" for i in range(99)]]
)
@pytest.mark.parametrize("note", [7, ["a"], None, "x" * 10_000])
def test_tags_and_notes_of_a_program_that_cannot_be_shown_are_left_out(tags: object, note: object) -> None:
    about = of_program({"tags": tags, "note": note})
    assert checked({"tags": about.tags, "note": about.note}) == about
    assert len(about.tags) in (0, 20) and len(about.note) in (0, 4000)


def test_dates_are_meant_in_the_zone_of_the_settings(queries: Queries) -> None:
    """Kiritimati is 14 hours before UTC, Pago Pago 11 behind: a moment of the one is a day and an hour from the same one of the other."""
    started_s = float(str(cells(queries, "started", "sweep/0")))
    words = datetime.datetime.fromtimestamp(started_s + 1, datetime.UTC).replace(tzinfo=None).isoformat()
    kept = []
    for zone in ("UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"):
        Changes(queries).set_settings({"time_zone": zone})
        kept.append(
            [
                names(ask(queries, text=f"started<{words} sweep/0")),
                names(ask(queries, text=f"started<{words}Z sweep/0")),
            ]
        )
    assert kept == [[["sweep/0"]] * 2, [[], ["sweep/0"]], [["sweep/0"]] * 2]


def test_a_run_without_anything_has_a_row(queries: Queries) -> None:
    found = ask(queries, columns=tuple(column.key for column in COLUMNS))
    assert set(names(found)) == {
        "sweep/0",
        "sweep/1",
        "sweep/2",
        "empty",
        "without steps",
        "without times",
        "only nan",
        HTML,
        "ranks",
    }
    for row in found.rows:
        assert [row.cell(column) for column in found.columns.values()][:2] == [row.name, row.facts.view.state]


# Order and groups


@pytest.mark.parametrize(
    "key", [*(column.key for column in COLUMNS), "config.lr", "last.train/loss", "best.val/acc", "config.nothing"]
)
def test_what_is_missing_comes_last_in_either_order(queries: Queries, key: str) -> None:
    column = queries.table.column(key)
    assert column is not None
    for descending in (False, True):
        values = [row.cell(column) for row in ask(queries, sort=key, descending=descending).rows]
        missing = [value is None for value in values]
        assert missing == sorted(missing)
        rows = [row for row in ask(queries, sort=key, descending=descending).rows if row.cell(column) is not None]
        assert [row.series_of(column) for row in rows] == sorted(row.series_of(column) for row in rows)
        for place in {row.series_of(column) for row in rows}:
            found = [row.cell(column) for row in rows if row.series_of(column) == place]
            numbers = [value for value in found if isinstance(value, float) and value == value]
            assert numbers == sorted(numbers, reverse=descending)
        unknown = [value != value for value in values if isinstance(value, float)]
        assert unknown == sorted(unknown)


def test_best_values_of_several_series_do_not_mix(queries: Queries, writer: Store) -> None:
    for number, name in enumerate(("val/loss", "val/loss", "train/loss")):
        writer.append([Points(f"mixed/{number}", HOST, (name,), (5.0 - number,), T0, 1)])
    queries.table.stale()
    best = queries.table.column("best")
    assert best is not None
    for descending, first in ((False, ["mixed/1", "mixed/0"]), (True, ["mixed/0", "mixed/1"])):
        assert names(ask(queries, sort="best", descending=descending))[:2] == first, (
            "by validation loss before all others"
        )
    best = queries.table.column("best")
    assert best is not None and (best.title, best.judged_by, best.direction) == ("Best val/loss", "val/loss", "down")
    (group,) = [line for line in ask(queries, "name:mixed", group="host").lines if isinstance(line, GroupRow)]
    cell = group.cell(best)
    assert (cell.of, cell.best, cell.most, cell.mean) == ("val/loss", 4.0, 5.0, 4.5)
    sweep = next(line for line in ask(queries, "sweep", group="gpu").lines if isinstance(line, GroupRow))
    assert (sweep.cell(best).of, sweep.cell(best).best) == ("val/acc", 0.49), "more of it is better"


@settings(deadline=None, max_examples=30)
@given(some.lists(some.sampled_from([1e-3, 1e-4, 5e-4, 0.01, 1, 10, 2, "auto", "none", True, None]), max_size=12))
def test_groups_of_numbers_are_in_their_order_and_words_as_they_come(values: list[object]) -> None:
    column = column_of("config.lr", TableSetting())
    assert column is not None
    setting = TableSetting()
    rows = [
        Row(Facts(view_of(f"run {place}"), {"lr": value}, {}, T0), setting, place) for place, value in enumerate(values)
    ]
    groups = grouped(rows, column)
    cells = [group.rows[0].cell(column) for group in groups]
    numbers = [value for value in cells if isinstance(value, int | float) and not isinstance(value, bool)]
    words = [value for value in cells if isinstance(value, str | bool)]
    assert cells == [*sorted(numbers), *words, *([None] if None in values else [])]
    assert words == list(dict.fromkeys(value for value in values if isinstance(value, str) or value is True))
    assert sorted(row.name for group in groups for row in group.rows) == sorted(row.name for row in rows)


def test_states_are_sorted_by_how_urgent_they_are(queries: Queries) -> None:
    states = [STATES.index(row.facts.view.state) for row in ask(queries, sort="state").rows]
    assert states == sorted(states)


def test_groups_hold_every_run_once_and_sum_them_up(queries: Queries) -> None:
    loss = queries.table.column("loss")
    assert loss is not None
    for key in ("config.lr", "state", "tags", "loss", "name", "config.nothing"):
        found = ask(queries, group=key, opened=frozenset(["0.0003"]))
        groups = [line for line in found.lines if isinstance(line, GroupRow)]
        assert sorted(row.name for group in groups for row in group.rows) == sorted(names(found))
        assert len(found.lines) == len(groups) + sum(isinstance(line, Row) for line in found.lines)
        for group in groups:
            values = [
                value for row in group.rows if isinstance(value := row.cell(loss), float) and math.isfinite(value)
            ]
            cell = group.cell(loss)
            assert (cell.best, cell.most) == (min(values, default=None), max(values, default=None))
            assert cell.mean == (pytest.approx(sum(values) / len(values)) if values else None)
    by_lr = ask(queries, group="config.lr", opened=frozenset(["0.0003"]), sort="name", descending=True).lines
    assert [line.value if isinstance(line, GroupRow) else line.name for line in by_lr] == [
        "0.0003",
        "sweep/2",
        "sweep/1",
        "0.001",
        "(none)",
    ]


# What users say, and what changes


def test_archived_and_deleted_runs_are_left_out_until_asked_for(queries: Queries) -> None:
    changes = Changes(queries)
    changes.set_about("sweep/0", {"archived": True, "tags": ["old one"]})
    changes.set_about("sweep/1", {"name": "gone"})
    Tombstones(queries.data_dir).put(Tombstone("sweep/1", T0, "", (), purge_s=time.time() + 600))
    assert set(names(ask(queries, "sweep"))) == {"sweep/2"}
    assert set(names(ask(queries, "sweep", archived=True))) == {"sweep/0", "sweep/2"}
    assert set(names(ask(queries, "sweep", archived=True, deleted=True))) == {"sweep/0", "sweep/1", "sweep/2"}
    assert names(ask(queries, 'tag:"old one"', archived=True)) == ["sweep/0"] and names(
        ask(queries, "gone", deleted=True)
    ) == ["sweep/1"]


def test_only_runs_that_have_changed_are_read_again(queries: Queries, writer: Store) -> None:
    asked: list[object] = []
    source = queries.table._source

    def outcomes(runs: object, names: object) -> object:
        asked.append(runs)
        return source.outcomes(runs, names)  # type: ignore[arg-type]

    queries.table._source = source._replace(outcomes=outcomes)  # type: ignore[arg-type]
    kept = {row.name: row for row in ask(queries).rows}
    assert asked == [{*kept}]
    writer.append([Points("sweep/2", HOST, ("train/loss",), (0.5,), T0 + 99, 99)])
    queries.table.stale()
    after = {row.name: row for row in ask(queries).rows}
    assert asked[1:] == [{"sweep/2"}] and cells(queries, "loss", "sweep/2") == 0.5
    assert {name for name in kept if after[name] is not kept[name]} == {"sweep/2"}
    writer.append([RunInfo("new", {"config": {"lr": 7}}), Points("new", HOST, ("fresh/acc",), (0.1,), T0, 1)])
    queries.table.stale()
    assert names(ask(queries, "lr=7")) == ["new"] and cells(queries, "best.fresh/acc", "new") == 0.1


def test_csv_holds_what_is_found_and_no_formula(queries: Queries) -> None:
    found = ask(queries, columns=("name", "curve", "loss", f"config.{HTML}", "tags"), sort="loss")
    rows = list(csv.DictReader(io.StringIO(bytes(csv_answer(found).body).decode())))
    assert [row["run"] for row in rows] == names(found)
    assert {row["run"]: row[f"config.{HTML}"] for row in rows}[HTML] == "'=1+1"
    assert {row["run"]: row["loss"] for row in rows}["ranks"] == "2.0"
    assert "curve" not in rows[0]


def test_the_data_frame_has_the_cells(queries: Queries) -> None:
    keys = ("state", "best", "config.lr", "config.model", "tags", "started")
    found = ask(queries, columns=keys)
    made = frame(found.rows, list(found.columns.values()))
    assert list(made.index) == names(found) and list(made.columns) == list(keys)
    assert [str(kind) for kind in made.dtypes] == ["object", "float64", "float64", "object", "object", "float64"]
    for row in found.rows:
        for key, column in found.columns.items():
            cell, value = row.cell(column), made.loc[row.name, key]
            assert cell == value or (cell is None and (value is None or math.isnan(value)))
    assert len(frame([], list(found.columns.values()))) == 0


def test_a_run_that_is_alive_cannot_be_deleted(queries: Queries, writer: Store) -> None:
    now_s = time.time()
    writer.append([Points("alive", HOST, ("loss",), (1.0,), now_s - second, 9 - second) for second in range(9, -1, -1)])
    writer.append([Points("also alive", HOST, ("loss",), (1.0,), now_s, 0)])
    with pytest.raises(BadRequest, match="is running; stop it, then delete it"):
        Changes(queries).delete("alive", 0)
    assert set(names(ask(queries))[:2]) == {"alive", "also alive"}, "living runs stand on top"


@pytest.mark.parametrize(
    ("names", "loss", "judged"),
    [
        (["Loss/train", "Loss/test", "Accuracy/train", "Accuracy/test"], "Loss/train", "Loss/test"),
        (["train/loss", "val/loss", "val/acc"], "train/loss", "val/loss"),
        (["Accuracy/test", "Loss/Train"], "Loss/Train", "Accuracy/test"),
        (["perplexity/valid", "training"], None, "perplexity/valid"),
    ],
)
def test_the_loss_is_found_wherever_the_part_of_the_data_stands(
    names: list[str], loss: str | None, judged: str
) -> None:
    roles = roles_of(dict.fromkeys(names, 1))
    assert first_of(roles.loss, names) == loss
    assert first_of(roles.judged, names) == judged


def test_settings_differ_among_the_runs_that_have_them(tmp_path: Path) -> None:
    with closing(open_store(tmp_path, write=True)) as writer:
        for i in range(9):
            config = {"lr": 10.0**-i, "hidden": 64 * (1 + i % 2), "epochs": 3} if i < 3 else {}
            writer.append([RunInfo(f"r{i}", {"config": config, "started_s": T0 + i})])
        queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
        assert [key for key in queries.table.usual() if key.startswith("config.")] == ["config.lr", "config.hidden"]
        wide = {f"option {i}": i for i in range(40)}
        for sign in (1, -1):
            values = {key: sign * (1 + value) for key, value in wide.items()}
            writer.append([RunInfo(f"wide {sign}", {"config": {"lr": 1.0, **values}, "started_s": T0})])
        queries.table.stale()
        found = [key for key in queries.table.usual() if key.startswith("config.")]
        assert found[:2] == ["config.lr", "config.hidden"] and len(found) == 5, (
            "many keys would leave no room for others"
        )
        queries.close()


def test_usual_columns_have_values_and_then_come_the_settings_that_differ(tmp_path: Path) -> None:
    with closing(open_store(tmp_path, write=True)) as writer:
        for i in range(6):
            config = {
                "lr": 10.0 ** -(i % 3),
                "nested": {"batch_size": 32 * (1 + i % 2)},
                "same": 1,
                "out_dir": f"/data/{i}",
                "label": f"try {i}",
                "api_key": f"{i}",
                "of two": i,
                "own name": f"r{i}",
                **({} if i else {"seldom": 1}),
            }
            if i > 1:
                del config["of two"]
            name = ("val/loss", "val_loss")[i % 2]
            writer.append([RunInfo(f"r{i}", {"config": config, "started_s": T0 + i * (-1) ** i})])
            writer.append(
                [Points(f"r{i}", HOST, ("train/loss", name), (2.0, 1.0 + i), T0 + step, step) for step in range(3)]
            )
        writer.append([Points("without validation", HOST, ("train/loss",), (0.1,), T0, 1)])
        queries = Queries(open_store(tmp_path, write=False), tmp_path, tmp_path)
        usual = queries.table.usual()
        assert usual[: usual.index("steps")] == (
            *("name", "state", "curve", "best", "loss"),
            *("config.lr", "config.nested.batch_size", "config.of two"),
        )
        assert not {"tags", "eta", "tokens_per_s", "gpu_hours", "commit"} & {*usual} and "started" in usual
        assert queries.table.ask(TableQuery()).columns.keys() == {*usual}
        found = {row.name: row for row in queries.table.ask(TableQuery(sort="best")).rows}
        assert [*found] == [*(f"r{i}" for i in range(6)), "without validation"]
        assert (
            not any(row.judges_otherwise for row in found.values())
            and cells(queries, "best", "without validation") is None
        )
        assert names(ask(queries, "-without")) == ["r4", "r2", "r0", "r1", "r3", "r5"], (
            "not sorted by when they started"
        )
        save_about(tmp_path, "r0", {"tags": ["mine"]}, of_program({}))
        queries.table.stale()
        assert "tags" in queries.table.usual()
        queries.close()


def test_names_of_one_quantity_are_compared_with_each_other() -> None:
    for alike in (["val/loss", "val_loss", "eval_loss", "Loss/val", "valid.loss", "eval/loss", "validation-loss", "dev_loss"], ["Accuracy/test", "test_accuracy"]):  # fmt: skip
        assert len({quantity_of(name) for name in alike}) == 1, alike
    for other in ("test/loss", "train/loss", "val/total_loss", "val/acc", "val/cifar/loss"):
        assert quantity_of(other) != quantity_of("val/loss")


def test_training_losses_judge_runs_only_where_none_has_a_validation() -> None:
    assert roles_of({"train/loss": 9, "val_loss": 1}).judged == ("val_loss",)
    assert roles_of({"train/loss": 9, "lr": 1}).judged == ("train/loss",)
