"""Tables in text: a header and its rows (fastai, Ultralytics), and boxes of names and values (Stable-Baselines3).

epoch     train_loss  valid_loss        | rollout/           |          |
0         2.345678    1.234567          |    ep_rew_mean     | 21.9     |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .metric_lines import RICH, TQDM, Kind, MetricLine, Progress
from .words import COLUMN_OF_STEP, NUMBER, is_no_metric

MAX_COLUMNS, MAX_ROWS, MAX_CHARS = 40, 200, 2_000
BAR = "|\u2502\u2503"
EDGES = re.compile(r"[\s\-=_+|:\u2500-\u257f]{3,}$")
BAR_BEGINS = re.compile(r"\d{0,3}%(?:\||\s[\u2500-\u257f])")
CELLS = re.compile(r"[|\u2502\u2503]")
WIDE = re.compile(r"\t+|\s{2,}")
NUMBER_CELL = re.compile(rf"(?:{NUMBER})%?", re.IGNORECASE)
PLACE_CELL = re.compile(r"(\d{1,15})(?:/(\d{1,15}))?")
NAME_CELL = re.compile(r"#|[^\W\d_][\w/@.\-+()%#]{0,60}(?: [^\W\d][\w/@.\-+()%#]{0,40}){0,4}")
NO_COLUMNS = ("E", "Images")  # the epoch of spaCy; how many were looked at
MOST_BETWEEN, MOST_BETWEEN_WORDS = (
    50,
    3,
)  # lines between a header, or a row, and the next row; where single blanks separate the names


class Tables:
    """The table that the lines of one file are in, if any."""

    def __init__(self, state: Sequence[Any] | None = None) -> None:
        self._columns: list[str] = []
        self._separator = ""
        self._is_ruled = False  # a line is drawn below its header
        self._misses = 0  # lines since the last row
        self._box: dict[str, float] = {}
        self._section = ""
        if state:
            self._columns, self._separator, self._is_ruled, self._misses, box, self._section = state
            self._box = {name: float(value) for name, value in box.items()}

    def state(self) -> list[Any]:
        if not self._columns and not self._box:
            return []
        box = {name: str(value) for name, value in self._box.items()}
        return [self._columns, self._separator, self._is_ruled, self._misses, box, self._section]

    @property
    def is_open(self) -> bool:
        return bool(self._columns or self._box)

    def may_begin(self, text: str) -> bool:
        """Whether a table may begin with a line."""
        return text.lstrip()[:1] in BAR or (len(text) <= MAX_CHARS and COLUMN_OF_STEP.match(text) is not None)

    def take(self, text: str) -> tuple[MetricLine | None, str]:
        """What a row says, or a whole box at its end; and what is left for others to read: "" of a line that is part of a table."""
        if len(text) > MAX_CHARS or not text.strip():
            return None, text
        if EDGES.match(text):
            self._is_ruled = bool(self._columns)
            return self._boxed(), ""
        if (cells := _boxed_cells(text)) is not None and len(cells) == 2 and not self._columns and self._in_box(*cells):
            return None, ""
        if self._columns and (row := self._row(text)) is not None:
            return row, ""
        if self._is_header(text):
            return None, ""
        self._misses += "%" not in text and any(map(str.isalnum, text))  # else a bar
        if self._misses > (MOST_BETWEEN_WORDS if self._separator == " " else MOST_BETWEEN):
            self._columns = []
        return self._boxed(), text

    def _in_box(self, name: str, value: str) -> bool:
        if not value and name.endswith("/"):
            self._section = name
        elif NAME_CELL.fullmatch(name) and NUMBER_CELL.fullmatch(value) and len(self._box) < MAX_ROWS:
            self._box[self._section + name.replace(" ", "_")] = float(value.rstrip("%"))
        else:
            return bool(self._box or self._section) and not PLACE_CELL.fullmatch(name)
        return True

    def _boxed(self) -> MetricLine | None:
        box, self._box, self._section = self._box, {}, ""
        if not box:
            return None
        at = {name.rpartition("/")[2].lower(): name for name in box}
        step = next(
            (at[name] for name in ("total_timesteps", "global_step", "step", "num_updates", "timesteps") if name in at),
            None,
        )
        done = int(box[step]) if step and box[step].is_integer() else None
        outer = next((box[at[name]] for name in ("epoch", "iteration", "iterations", "episode") if name in at), None)
        values = {name: value for name, value in box.items() if not is_no_metric(name.rpartition("/")[2])}
        progress = None
        if done is not None:
            progress = Progress((), done, None, "step", is_global=True)
        elif outer is not None and outer.is_integer():
            progress = Progress((outer,), counter="epoch")
        return MetricLine(progress, values, is_sure=progress is not None, is_table=True) if values else None

    def _is_header(self, text: str) -> bool:
        cells, separator = _cells(BAR_BEGINS.split(text, 1)[0].rstrip(": "))
        names = [cell.strip() for cell in cells]
        if not 2 <= len(names) <= MAX_COLUMNS or not all(NAME_CELL.fullmatch(name) for name in names):
            return False
        if len({*names}) < len(names) or not (
            any(map(_is_place, names)) or names[0].lower() == "class" or separator == "|"
        ):
            return False
        self._columns, self._separator = [name.replace(" ", "_") for name in names], separator
        self._is_ruled, self._misses = False, 0
        return True

    def _row(self, text: str) -> MetricLine | None:
        """None for a line that is no row of the table."""
        cells = _split(text, self._separator)
        if len(cells) < len(self._columns):
            cells = text.split()
        at = next((i for i, name in enumerate(self._columns) if name == "#"), None)
        at = next((i for i, name in enumerate(self._columns) if _is_place(name)), None) if at is None else at
        more = cells[len(self._columns) :]
        if len(cells) < len(self._columns) or (
            not text.rstrip().endswith(("]", "s")) and any(map(str.isalnum, "".join(more)))
        ):
            return None
        row = [cell.rstrip(":") for cell in cells[: len(self._columns)]]
        progress = None
        if at is not None:
            if (place := PLACE_CELL.fullmatch(row[at])) is None:
                return None
            progress = self._progress(self._columns[at], place, TQDM.search(text) or RICH.search(text))
        elif self._columns[0].lower() == "class":
            if row[0].lower() not in ("all", "total", "average", "mean", "overall"):
                return None
        elif not self._is_ruled or not all(NUMBER_CELL.fullmatch(cell) for cell in row):
            return None
        values = {
            name: float(cell.rstrip("%"))
            for i, (name, cell) in enumerate(zip(self._columns, row, strict=True))
            if i != at
            and NUMBER_CELL.fullmatch(cell)
            and not is_no_metric(name)
            and name not in NO_COLUMNS
            and (at is not None or name != "Instances")
        }
        if not values:
            return None
        self._misses = 0
        return MetricLine(progress, values, is_sure=progress is not None, is_table=True)

    def _progress(self, column: str, place: re.Match[str], bar: re.Match[str] | None) -> Progress:
        name = column.lower().lstrip("#") or "step"
        if bar is not None:
            return Progress((float(place[1]),), int(bar["done"]), int(bar["total"]), f"|{name}", Kind.BAR)
        if name in ("epoch", "epochs", "ep", "round", "generation", "gen", "episode"):
            return Progress((float(place[1]),), counter=name.removesuffix("s"))
        return Progress((), int(place[1]), int(place[2]) if place[2] else None, name, Kind.NAMED, is_global=True)


def _is_place(name: str) -> bool:
    return name == "#" or (name.lower() != "class" and COLUMN_OF_STEP.fullmatch(name) is not None)


def _boxed_cells(text: str) -> list[str] | None:
    stripped = text.strip()
    if stripped[:1] not in BAR or stripped[-1:] not in BAR:
        return None
    cells = [cell.strip() for cell in CELLS.split(stripped)[1:-1]]
    return WIDE.split(cells[0]) if len(cells) == 1 else cells


def _cells(text: str) -> tuple[list[str], str]:
    """The cells of a header, and what separates them."""
    for separator in ("|", ",", "  ", " "):
        cells = _split(text, separator)
        if len(cells) > 1:
            return cells, separator
    return [text], ""


def _split(text: str, separator: str) -> list[str]:
    text = text.strip()
    if separator == "|":
        return [cell.strip() for cell in CELLS.split(text) if cell.strip()]
    if separator == ",":
        return [cell.strip() for cell in text.split(",")]
    return [cell.strip() for cell in WIDE.split(text)] if separator == "  " else text.split()
