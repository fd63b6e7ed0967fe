"""A table of a job's operations, one a row, in a file of Parquet or CSV: `replay_of_file(path)`.

The columns are those of github.com/ByteDance-Seed/StragglerAnalysis: `dp_rank`, `stage` and `rank` of the worker, `step`, `optype` (see
`replay.KINDS`), `start_ts` and `duration` in seconds, `seq_id` (the number of the operation among those of its kind, step and worker), `mc`
and `gmc` (the chunk of the model, within its stage and within the model), `mb_id` (the microbatch of a pass). Others are ignored.
"""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collectors.arrays import Floats, Ints

from .replay import NONE, Operations, Replay, ReplayError, Small, replay_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("dp_rank", "stage", "rank", "step", "optype", "start_ts", "duration", "seq_id", "mc", "mb_id", "gmc")
MAX_ROWS = 20_000_000
MAX_WHOLE = 2**31 - 1
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # that are not read


def replay_of_file(path: Path) -> Replay:
    """Raises ReplayError, OSError."""
    return replay_of(read_operations(path))


def read_operations(path: Path) -> Operations:
    """Numbers that are none, are not whole or are too large are -1, and times NaN. Raises ReplayError, OSError."""
    table = _parquet(path) if path.name.endswith(".parquet") else _csv(path)
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise ReplayError(_missing(missing))
    if len(table) > MAX_ROWS:
        raise ReplayError(f"has more than {MAX_ROWS:,} rows: give fewer steps")
    try:
        kinds = table.pop("optype").astype("category").cat
    except TypeError:
        raise ReplayError("has an optype that is not a text") from None
    numbers = {name: _whole(table.pop(name)) for name in COLUMNS if name not in ("optype", "start_ts", "duration")}
    return Operations(
        dp_rank=numbers["dp_rank"],
        stage=numbers["stage"],
        rank=numbers["rank"],
        step=numbers["step"],
        kind=kinds.codes.to_numpy(),
        start_s=_times(table.pop("start_ts")),
        duration_s=_times(table.pop("duration")),
        sequence=numbers["seq_id"],
        chunk=numbers["mc"],
        microbatch=numbers["mb_id"],
        model_chunk=numbers["gmc"],
        kinds=tuple(map(str, kinds.categories)),
    )


def _missing(names: list[str]) -> str:
    return f"has no column{'s' * (len(names) > 1)} {', '.join(names)}: a table of operations has {', '.join(COLUMNS)}"


def _parquet(path: Path) -> pd.DataFrame:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ReplayError("is a Parquet file, which needs pyarrow: pip install pyarrow, or give a .csv") from None
    import pandas as pd

    try:
        about = parquet.read_metadata(path)
        named = {name.strip().lower(): name for name in reversed(about.schema.names)}
        if missing := [name for name in COLUMNS if name not in named]:
            raise ReplayError(_missing(missing))
        if about.num_rows > MAX_ROWS:
            raise ReplayError(f"has {about.num_rows:,} rows: give fewer steps, at most {MAX_ROWS:,} rows")
        table = pd.read_parquet(path, engine="pyarrow", columns=[named[name] for name in COLUMNS])
        return table.rename(columns={named[name]: name for name in COLUMNS})
    except MemoryError:
        raise
    except (pyarrow.ArrowException, ValueError, KeyError, TypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ReplayError("is not a Parquet file that can be read, or is cut off: write it again") from None


def _csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        with warnings.catch_warnings():  # of columns that hold texts and numbers
            warnings.simplefilter("ignore")
            table = pd.read_csv(path, usecols=lambda name: _is_read(str(name)), index_col=False, nrows=MAX_ROWS + 1)
            header = [] if len(table.columns) else pd.read_csv(path, nrows=0).columns.tolist()
    except pd.errors.EmptyDataError:
        raise ReplayError("is empty") from None
    except (pd.errors.ParserError, ValueError, EOFError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        if "out of memory" in str(error):  # pandas's parser has no error of its own for it
            raise MemoryError from None
        raise ReplayError("is not a CSV file that can be read, or is cut off: write it again") from None
    for delimiter, name in DELIMITERS.items():
        if sum(map(_is_read, ",".join(map(str, header)).split(delimiter))) > 1:
            raise ReplayError(f"has {name} between its columns: write it with commas")
    table.columns = table.columns.str.strip().str.lower()
    return table.loc[:, ~table.columns.duplicated()]


def _is_read(column: str) -> bool:
    return column.strip().lower() in COLUMNS


def _whole(column: pd.Series) -> Small:
    if column.dtype.kind in "iu" and isinstance(column.dtype, np.dtype):
        values = column.to_numpy()
        small = values if values.dtype.itemsize < 8 else np.where((values >= 0) & (values <= MAX_WHOLE), values, NONE)
        found: Ints = small.astype(np.int32) if small.dtype.itemsize == 8 else small
        return found
    numbers = _times(column)
    is_whole = (numbers >= 0) & (numbers <= MAX_WHOLE) & (numbers == np.floor(numbers))
    return np.where(is_whole, numbers, NONE).astype(np.int32)


def _times(column: pd.Series) -> Floats:
    import pandas as pd

    if column.dtype.kind == "f" and isinstance(column.dtype, np.dtype):
        values: Floats = column.to_numpy()
        return values
    if column.dtype.kind in "Mm":  # pandas would make nanoseconds of it
        return np.full(len(column), np.nan)
    try:
        return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError):  # of lists
        return np.full(len(column), np.nan)
