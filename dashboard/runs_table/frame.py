"""The table as a pandas DataFrame, for statistics over runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .columns import Cell, TableColumn
from .row import Row

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("number", "count", "duration", "time", "bytes", "share")


def frame(rows: Sequence[Row], columns: Sequence[TableColumn]) -> pd.DataFrame:
    """A row a run, indexed by its name. Columns of numbers are float64 with NaN where nothing is known; others hold what the cells do.

    A column of the configuration is one of numbers where all that is known of it are numbers.
    """
    import pandas as pd  # a second: only who asks for a DataFrame waits for it

    index = pd.Index([row.name for row in rows], name="run", dtype=object)
    made = {column.key: _series([row.cell(column) for row in rows], column, index) for column in columns}
    return pd.DataFrame(made, index=index)


def _series(cells: list[Cell], column: TableColumn, index: pd.Index[str]) -> pd.Series[float] | pd.Series[str]:
    import pandas as pd

    known = [cell for cell in cells if cell is not None]
    numbers = bool(known) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in known)
    if numbers or column.kind in NUMBERS:
        return pd.Series([float("nan") if cell is None else cell for cell in cells], index, dtype="float64")
    return pd.Series(cells, index, dtype=object)
