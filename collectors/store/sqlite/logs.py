"""Log lines and progress bars: compressed blocks per commit and run, and their templates."""

from __future__ import annotations

import heapq
import itertools
import math
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from ...lines.templates import MAX_CHARACTERS as TEMPLATES_MOST_CHARACTERS
from ...lines.templates import NewTemplate, RunTemplates
from ...records import LogLine, ProgressBar
from .. import store
from ..store import UNKNOWN_TEMPLATE, LineColumns, LineExtent, LineTemplate, LineTexts, LogPage, LogQuery
from . import codec, schema
from .codec import decoded

# The templates of each run's lines: found as lines arrive, counted later for many blocks at once.

TIMES, LEVELS, TEMPLATES = 1, 2, 5  # places in the columns of a block
MAX_AT_ONCE = 64  # blocks
MAX_BYTES = 16 << 20  # of templates and keys that are remembered
_KNOWN = "SELECT id, text, file, family, wide FROM template WHERE run = ?"
_READ = (
    "SELECT id, text, example, wide, level, lines, first_time_s, last_time_s FROM template WHERE run = ? ORDER BY id"
)
_COLUMNS = "SELECT id, run, columns FROM log"
_UNCOUNTED_OF = f"{_COLUMNS} WHERE run = ? AND mined = 1"
_NEW = "INSERT INTO template VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 1e308, -1e308)"
_COUNT = """UPDATE template SET lines = lines + ?, level = max(level, ?), first_time_s = min(first_time_s, ?), last_time_s = max(last_time_s, ?)
  WHERE run = ? AND id = ?"""


class TemplateWriter:
    """What the writer of a file remembers of its runs. After a failed transaction it must forget."""

    def __init__(self) -> None:
        self._runs: dict[str, RunTemplates] = {}
        self._bytes = 0

    def group(self, db: sqlite3.Connection, run: str, files: Sequence[str], texts: Sequence[str]) -> list[int]:
        """The ids of the templates of a run's lines; new ones are stored."""
        templates = self._of(db, run)
        before = templates.bytes
        ids, new = templates.group(texts, files)
        self._bytes += templates.bytes - before
        if new:
            examples = dict(zip(reversed(ids), reversed(texts), strict=True))
            db.executemany(_NEW, [_row(run, template, examples[template.id]) for template in new])
        return ids

    def forget(self, run: str | None = None) -> None:
        """Read a run's templates, or those of all runs, from the file again."""
        for name in list(self._runs) if run is None else [run]:
            self._drop(name)

    def _of(self, db: sqlite3.Connection, run: str) -> RunTemplates:
        """The run that was asked for last stands last."""
        found = self._runs.pop(run, None)
        if found is None:
            found = RunTemplates(NewTemplate._make(row) for row in db.execute(_KNOWN, (run,)))
            self._bytes += found.bytes
        self._runs[run] = found
        while self._bytes > MAX_BYTES and len(self._runs) > 1:
            self._drop(next(iter(self._runs)))
        if self._bytes > MAX_BYTES:
            before = found.bytes
            found.forget_keys()
            self._bytes += found.bytes - before
        return found

    def _drop(self, run: str) -> None:
        if (found := self._runs.pop(run, None)) is not None:
            self._bytes -= found.bytes


def read_templates(db: sqlite3.Connection, run: str) -> list[LineTemplate]:
    """By id."""
    with schema.transaction(db, "DEFERRED"):  # what is counted meanwhile is counted once
        counts = _counts(db, _UNCOUNTED_OF, (run,)).get(run, {})
        rows = db.execute(_READ, (run,)).fetchall()
    found = []
    for number, text, example, wide, level, lines, first_s, last_s in rows:
        more = counts.get(number, NOTHING)
        ends = min(first_s, more.first_time_s), max(last_s, more.last_time_s)
        found.append(LineTemplate(number, text, example, bool(wide), max(level, more.level), lines + more.lines, *ends))
    return found


def count(db: sqlite3.Connection, blocks: Sequence[int]) -> None:
    """Count the lines of these blocks that are not counted yet. In a transaction."""
    for at in range(0, len(blocks), MAX_AT_ONCE):
        some = blocks[at : at + MAX_AT_ONCE]
        marks = ",".join("?" * len(some))
        for run, counts in _counts(db, f"{_COLUMNS} WHERE mined = 1 AND id IN ({marks})", some).items():
            db.executemany(_COUNT, [(*found, run, number) for number, found in counts.items()])
        db.execute(f"UPDATE log SET mined = 2 WHERE mined = 1 AND id IN ({marks})", some)


def uncounted(db: sqlite3.Connection) -> list[int]:
    """Some blocks whose lines have templates and are not counted."""
    return [
        number for (number,) in db.execute("SELECT id FROM log WHERE mined < 2 AND mined = 1 LIMIT ?", (MAX_AT_ONCE,))
    ]


class TemplateCount(NamedTuple):
    """Of the lines of a template."""

    lines: int
    level: int  # the highest
    first_time_s: float
    last_time_s: float


NOTHING = TemplateCount(0, 0, math.inf, -math.inf)


def _counts(db: sqlite3.Connection, blocks: str, values: Sequence[object]) -> dict[str, dict[int, TemplateCount]]:
    """By run and template, of the lines of some blocks."""
    found: dict[str, dict[int, TemplateCount]] = {}
    rows = db.execute(blocks, values)
    while some := rows.fetchmany(MAX_AT_ONCE):
        parts: dict[str, list[Sequence[Any]]] = {}
        for number, run, blob in some:
            columns = decoded("log", number, codec.decode, blob)
            if columns is not None:
                parts.setdefault(run, []).append((columns[TEMPLATES], columns[LEVELS], columns[TIMES]))
        for run, columns_of in parts.items():
            counts = found.setdefault(run, {})
            for template, more in _counted(
                *(np.concatenate(column) for column in zip(*columns_of, strict=True))
            ).items():
                counts[template] = _together(counts.get(template, NOTHING), more)
    return found


def _together(one: TemplateCount, other: TemplateCount) -> TemplateCount:
    ends = min(one.first_time_s, other.first_time_s), max(one.last_time_s, other.last_time_s)
    return TemplateCount(one.lines + other.lines, max(one.level, other.level), *ends)


def _counted(ids: NDArray[np.int64], level: NDArray[np.int64], time_s: NDArray[np.float64]) -> dict[int, TemplateCount]:
    order = np.argsort(ids, kind="stable")
    level, time_s = level[order], time_s[order]
    found, starts, lines = np.unique(ids[order], return_index=True, return_counts=True)
    columns = (
        lines,
        np.maximum.reduceat(level, starts),
        np.minimum.reduceat(time_s, starts),
        np.maximum.reduceat(time_s, starts),
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return dict(zip(found.tolist(), map(TemplateCount._make, rows), strict=True))


def _row(run: str, template: NewTemplate, example: str) -> tuple[object, ...]:
    shown = example[:TEMPLATES_MOST_CHARACTERS].encode("utf-8", "replace").decode()
    return run, template.id, template.text, shown, template.file, template.family, template.wide


UNGROUPED, GROUPED, COUNTED = 0, 1, 2  # `mined`: whether a block's lines have their templates, and are counted there
BLOCK_LINES = 2000
BLOCK_BYTES = 4 << 20  # of text: a block is opened as a whole, and a line may have a mebibyte
MANY_BLOCKS = 32  # of one run, that are worth merging
MANY_LINES = 500
NO_RANK = -1
NO_CURSOR = 1 << 62
MAX_CHARACTERS = 16_384  # of a line in an answer; it is searched whole
MAX_PAGE_CHARACTERS = 8_000_000
MAX_LIVE_LINES = 2000  # of a delta: a page shows fewer,
MAX_LIVE_BYTES = 4 << 20  # or so much text
MAX_BARS = 100  # of an answer
BLOCK = "id, run, first_line, last_line, lines, first_time_s, last_time_s, max_level, files, columns, texts"


class LineBlock(NamedTuple):
    """The lines of one run that stand in one row; all lists have one entry per line."""

    run: str
    numbers: list[int]
    times_s: list[float]
    levels: list[int]
    files: list[str]
    ranks: list[int]  # NO_RANK where it is not known
    texts: list[str]
    templates: list[int]  # UNKNOWN_TEMPLATE where it is not known

    def line(self, i: int) -> LogLine:
        text = self.texts[i]
        if len(text) > MAX_CHARACTERS:
            text = f"{text[:MAX_CHARACTERS]} ... ({len(text):,} characters)"
        rank = None if self.ranks[i] == NO_RANK else self.ranks[i]
        return LogLine(self.run, self.files[i], self.times_s[i], self.levels[i], text, rank, self.numbers[i])


class BlockRow(NamedTuple):
    """A row of the table `log`."""

    id: int
    run: str
    first_line: int
    last_line: int
    lines: int
    first_time_s: float
    last_time_s: float
    max_level: int
    files: str
    columns: bytes
    texts: bytes

    def room(self) -> tuple[int, int]:
        """How many lines and bytes of text it holds."""
        return self.lines, codec.unsealed_bytes(self.texts)

    def read(self) -> LineBlock | None:
        columns, texts = (
            decoded("log", self.id, codec.decode, self.columns),
            decoded("log", self.id, _texts, self.texts),
        )
        if columns is None or texts is None:
            return None
        numbers, times_s, levels, files, ranks, templates = (column.tolist() for column in full(columns))
        names = orjson.loads(self.files)
        return LineBlock(
            self.run, numbers, times_s, levels, [names[i] for i in files], ranks, texts.split("\n"), templates
        )

    def matches(self, query: LogQuery, needle: str) -> Iterator[tuple[int, LogLine]]:
        if needle and needle not in (decoded("log", self.id, _texts, self.texts) or "").lower():
            return
        lo, hi = query.from_s, query.to_s
        block = self.read()
        if block is None:
            return
        for i, time_s in enumerate(block.times_s):
            in_time = (lo is None or time_s >= lo) and (hi is None or time_s <= hi)
            if in_time and block.levels[i] >= query.level and needle in block.texts[i].lower():
                yield block.numbers[i], block.line(i)


def full(columns: Sequence[Any]) -> list[Any]:
    """Before version 7 of the schema a block had no templates, and without any rank no column of ranks."""
    missing = (NO_RANK, UNKNOWN_TEMPLATE)[len(columns) - 4 :]
    return [*columns, *(np.full(len(columns[0]), value, np.int64) for value in missing)]


def write(db: sqlite3.Connection, lines: Sequence[LogLine], seq: int, grouping: TemplateWriter) -> None:
    if not lines:
        return
    last = schema.meta(db, "lines")
    by_run: dict[str, list[tuple[int, LogLine]]] = {}
    for number, line in enumerate(lines, last + 1):
        by_run.setdefault(line.run, []).append((number, line))
    for run, numbered in by_run.items():
        for part in _parts(numbered):
            block = _block(run, part)
            ids = grouping.group(db, run, block.files, block.texts)
            insert(db, block._replace(templates=ids), seq)
    schema.set_meta(db, "lines", last + len(lines))


def write_bars(db: sqlite3.Connection, bars: Sequence[ProgressBar], seq: int) -> None:
    over = "INSERT INTO bar VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq, time_s = excluded.time_s, text = excluded.text"
    db.executemany(over, [(bar.run, bar.file, seq, bar.time_s, bar.text) for bar in bars])


def read_bars(db: sqlite3.Connection, run: str) -> list[ProgressBar]:
    """Those that are not gone, the newest last."""
    newest = "SELECT run, file, time_s, text FROM bar WHERE run = ? AND text != '' ORDER BY time_s DESC LIMIT ?"
    return [ProgressBar._make(row) for row in db.execute(newest, (run, MAX_BARS))][::-1]


def read_bars_after(
    db: sqlite3.Connection, seq: int, upto: int, runs: Collection[str] | None = None
) -> list[ProgressBar]:
    """The present state of bars that later commits changed, of these runs or of all; the newest 100."""
    after = "SELECT run, file, time_s, text FROM bar WHERE seq > ? AND seq <= ? ORDER BY seq DESC"
    bars = (ProgressBar._make(row) for row in db.execute(after, (seq, upto)))
    return list(itertools.islice((bar for bar in bars if runs is None or bar.run in runs), MAX_BARS))


def mergeable(db: sqlite3.Connection, upto_seq: int) -> list[str]:
    """Runs with many small blocks from commits up to `upto_seq`; none while lines wait for their templates."""
    if db.execute("SELECT 1 FROM log WHERE mined < 2 AND mined = 0 LIMIT 1").fetchone():
        return []
    many = "SELECT run FROM log WHERE seq <= ? GROUP BY run HAVING count(*) >= ? OR sum(lines) >= ?"
    return [run for (run,) in db.execute(many, (upto_seq, MANY_BLOCKS, MANY_LINES))]


def unmerged(db: sqlite3.Connection, run: str, upto_seq: int) -> bool:
    return db.execute("SELECT 1 FROM log WHERE run = ? AND seq <= ? LIMIT 1", (run, upto_seq)).fetchone() is not None


def merge(db: sqlite3.Connection, run: str, upto_seq: int) -> tuple[LineBlock | None, list[int]]:
    """One block of up to 2,000 lines instead of the run's small ones, and the rows that it replaces; None for a damaged row."""
    open_block = f"SELECT {BLOCK} FROM log WHERE run = ? AND seq IS NULL ORDER BY last_line DESC LIMIT 1"
    fresh = f"SELECT {BLOCK} FROM log WHERE run = ? AND seq <= ? ORDER BY last_line LIMIT ?"
    last = [BlockRow._make(row) for row in db.execute(open_block, (run,))]
    rows = map(BlockRow._make, db.execute(fresh, (run, upto_seq, BLOCK_LINES)))  # read one by one, as far as they fit
    first = next(rows)
    taken = [*last, first] if last and _fits(last[0].room(), first.room()) and last[0].read() else [first]
    lines, size = map(sum, zip(*(row.room() for row in taken), strict=True))
    for row in rows:
        if not _fits((lines, size), row.room()):
            break
        taken.append(row)
        lines, size = lines + row.lines, size + row.room()[1]
    blocks = list(itertools.takewhile(bool, (row.read() for row in taken)))
    if not blocks:
        return None, [taken[0].id]
    joined = LineBlock._make([run, *([value for block in blocks if block for value in block[i]] for i in range(1, 8))])
    return joined, [row.id for row in taken[: len(blocks)]]


def _fits(room: tuple[int, int], more: tuple[int, int]) -> bool:
    """Whether one block may hold both."""
    return room[0] + more[0] <= BLOCK_LINES and room[1] + more[1] <= BLOCK_BYTES


def ungrouped(db: sqlite3.Connection) -> BlockRow | None:
    """The oldest block from before version 7 of the schema."""
    row = db.execute(f"SELECT {BLOCK} FROM log WHERE mined < 2 AND mined = 0 ORDER BY id LIMIT 1").fetchone()
    return BlockRow._make(row) if row else None


def group(db: sqlite3.Connection, row: BlockRow, grouping: TemplateWriter) -> None:
    """Give its lines their templates. In a transaction; nothing is left to do if the row is gone."""
    if db.execute("SELECT 1 FROM log WHERE id = ?", (row.id,)).fetchone() is None:
        return
    block = row.read()
    if block is None:  # damaged: it has no lines any more
        db.execute("UPDATE log SET mined = ? WHERE id = ?", (COUNTED, row.id))
        return
    block = block._replace(templates=grouping.group(db, row.run, block.files, block.texts))
    columns = encoded(block, orjson.loads(row.files))
    db.execute("UPDATE log SET columns = ?, mined = ? WHERE id = ?", (columns, GROUPED, row.id))


def replace(db: sqlite3.Connection, block: LineBlock | None, ids: Sequence[int]) -> None:
    count(db, ids)
    if block is None or len(ids) == 1:
        db.execute("UPDATE log SET seq = NULL WHERE id = ?", ids)
        return
    db.executemany("DELETE FROM log WHERE id = ?", [(number,) for number in ids])
    insert(db, block, None)


def search(db: sqlite3.Connection, query: LogQuery) -> LogPage:
    """Newest first through the blocks; a block is opened only if its row is not enough."""
    needle = query.text.lower()
    before = NO_CURSOR if query.before is None else query.before
    found: list[tuple[int, LogLine]] = []  # a heap, the oldest line first
    total = older = 0  # lines that match; those of them before the cursor
    for row in _rows(db, query):
        store.check()
        full = len(found) == query.limit and (not found or row.last_line < found[0][0])
        if (full or row.first_line >= before) and not needle and query.level <= 0 and _inside(query, row):
            total += row.lines
            older += row.lines if row.last_line < before else 0
            continue
        for number, line in row.matches(query, needle):
            total += 1
            older += number < before
            if number < before and query.limit:
                _keep(found, (number, line), query.limit)
    found = _bounded(sorted(found))
    return LogPage([line for _, line in found], total, found[0][0] if older > len(found) > 0 else None)


def _bounded(found: list[tuple[int, LogLine]]) -> list[tuple[int, LogLine]]:
    """The newest of these lines that together are not too long; the cursor leads to the others."""
    sizes = itertools.accumulate(len(line.text) for _, line in reversed(found))
    kept = sum(size <= MAX_PAGE_CHARACTERS for size in sizes)
    return found[-max(kept, 1) :]


def read_lines_after(db: sqlite3.Connection, seq: int, upto: int, runs: Collection[str] | None = None) -> list[LogLine]:
    """Lines of later commits, of these runs or of all, by arrival: the newest 2,000 or 4 MiB.

    Runs share these bounds, so that a run that floods its log displaces no other. No block is opened beyond them: this is
    called ten times a second, on the event loop.
    """
    after = "SELECT id, run FROM log WHERE seq > ? AND seq <= ? ORDER BY seq DESC, id DESC"
    by_run: dict[str, list[int]] = {}
    with schema.transaction(db, "DEFERRED"):  # a row that is listed may be merged into another one meanwhile
        for row, run in db.execute(after, (seq, upto)):
            if runs is None or run in runs:
                by_run.setdefault(run, []).append(row)
        shared = list(by_run.values())[:MAX_LIVE_LINES]
        lines, size = (most // max(1, len(shared)) for most in (MAX_LIVE_LINES, MAX_LIVE_BYTES))
        numbered = [line for rows in shared for line in _newest(db, rows, lines, size)]
    return [line for _, line in sorted(numbered)]


def _newest(db: sqlite3.Connection, rows: Sequence[int], most: int, most_bytes: int) -> list[tuple[int, LogLine]]:
    """Of one run's rows, the newest first: its last lines, with their numbers. The first row is opened however large it is."""
    numbered: list[tuple[int, LogLine]] = []
    size = 0
    for number in rows:
        row = BlockRow._make(db.execute(f"SELECT {BLOCK} FROM log WHERE id = ?", (number,)).fetchone())
        size += row.room()[1]
        if numbered and size > most_bytes:
            break
        block = row.read()
        numbered += [(number, block.line(i)) for i, number in enumerate(block.numbers)] if block else []
        if len(numbered) >= most:
            break
    return sorted(numbered)[-most:]


def _parts(numbered: Sequence[tuple[int, LogLine]]) -> Iterator[Sequence[tuple[int, LogLine]]]:
    """As many lines at a time as one block may hold."""
    start = size = 0
    for at, (_, line) in enumerate(numbered):
        if at > start and (at - start >= BLOCK_LINES or size + len(line.text) > BLOCK_BYTES):
            yield numbered[start:at]
            start, size = at, 0
        size += len(line.text)
    yield numbered[start:]


def _block(run: str, numbered: Sequence[tuple[int, LogLine]]) -> LineBlock:
    numbers, lines = zip(*numbered, strict=True)
    _, files, times_s, levels, texts, ranks, _ = zip(*lines, strict=True)
    known = [NO_RANK if rank is None else rank for rank in ranks]
    bare = [text.replace("\n", " ") for text in texts]
    return LineBlock(run, list(numbers), list(times_s), list(levels), list(files), known, bare, [])


def insert(db: sqlite3.Connection, block: LineBlock, seq: int | None) -> None:
    names = sorted(set(block.files))
    columns = encoded(block, names)
    texts = codec.seal("\n".join(block.texts).encode("utf-8", "surrogatepass"))
    summary = (min(block.times_s), max(block.times_s), max(block.levels))
    span = (min(block.numbers), max(block.numbers), len(block.numbers))
    mined = GROUPED if seq is not None else COUNTED
    row = "INSERT INTO log VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    db.execute(row, (block.run, seq, *span, *summary, orjson.dumps(names).decode(), columns, texts, mined))


def encoded(block: LineBlock, names: Sequence[str]) -> bytes:
    """`names` are those of its files, in the order of the row."""
    places = {name: at for at, name in enumerate(names)}
    files = [places[name] for name in block.files]
    whole = [np.array(column, np.int64) for column in (block.levels, files, block.ranks, block.templates)]
    return codec.encode([np.array(block.numbers, np.int64), np.array(block.times_s, np.float64), *whole])


def _rows(db: sqlite3.Connection, query: LogQuery) -> Iterator[BlockRow]:
    terms = [
        ("run = ?", query.run),
        ("max_level >= ?", query.level or None),
        ("last_time_s >= ?", query.from_s),
        ("first_time_s <= ?", query.to_s),
    ]
    asked = [(term, value) for term, value in terms if value is not None]
    where = " AND ".join([term for term, _ in asked] or ["1"])
    rows = db.execute(f"SELECT {BLOCK} FROM log WHERE {where} ORDER BY last_line DESC", [value for _, value in asked])
    return map(BlockRow._make, rows)


def _inside(query: LogQuery, row: BlockRow) -> bool:
    after = query.from_s is None or row.first_time_s >= query.from_s
    return after and (query.to_s is None or row.last_time_s <= query.to_s)


def _keep(found: list[tuple[int, LogLine]], line: tuple[int, LogLine], limit: int) -> None:
    if len(found) < limit:
        heapq.heappush(found, line)
    else:
        heapq.heappushpop(found, line)


def _texts(data: bytes) -> str:
    return codec.unseal(data).decode("utf-8", "surrogatepass")


# Many lines at once: how many there are, their columns without opening a text, and texts by number or newest first.

_EXTENTS = (
    "SELECT run, sum(lines), min(first_line), max(last_line), sum(CASE mined WHEN 0 THEN lines ELSE 0 END) FROM log"
)
_LINE_COLUMNS = "SELECT id, files, columns FROM log WHERE run = ? AND last_line > ? ORDER BY last_line"
_TEXTS = "SELECT id, first_line, last_line, lines, columns, texts FROM log WHERE run = ? AND last_line >= ? AND last_line <= ? ORDER BY last_line DESC"
_NEXT = "SELECT min(last_line) FROM log WHERE run = ? AND last_line >= ?"
_HOLDING = f"SELECT {BLOCK} FROM log WHERE run = ? AND last_line >= ? ORDER BY last_line LIMIT 1"


def extents(db: sqlite3.Connection, runs: Collection[str] | None) -> dict[str, LineExtent]:
    """Of the runs that have lines; from an index alone, 50 ns a line's block."""
    if runs is None:
        rows = db.execute(f"{_EXTENTS} GROUP BY run").fetchall()
    else:
        rows = [row for run in runs for row in db.execute(f"{_EXTENTS} WHERE run = ? GROUP BY run", (run,))]
    return {run: LineExtent._make(found) for run, *found in rows}


def columns(db: sqlite3.Connection, run: str, after: int, take: Callable[[LineColumns], None]) -> None:
    """By arrival, block by block: all lines of a run behind a number, as of one moment."""
    with schema.transaction(db, "DEFERRED"):
        for row, files, blob in db.execute(_LINE_COLUMNS, (run, after)):
            store.check()
            found = decoded("log", row, codec.decode, blob)
            if found is None:
                continue
            block = LineColumns(run, orjson.loads(files), *full(found))
            take(block if block.number[0] > after else block.where(block.number > after))


def texts(db: sqlite3.Connection, run: str, lo: int, hi: int, take: Callable[[LineTexts], bool]) -> None:
    """The newest first, block by block, those that hold lines with these numbers, until `take` returns False."""
    with schema.transaction(db, "DEFERRED"):
        (last,) = db.execute(_NEXT, (run, hi)).fetchone()
        for row, first, end, count, blob, sealed in db.execute(_TEXTS, (run, lo, hi if last is None else last)):
            store.check()
            numbers = np.arange(first, end + 1) if end - first + 1 == count else _numbers(row, blob)
            data = decoded("log", row, codec.unseal, sealed)
            if numbers is not None and data is not None and not take(LineTexts(numbers, data)):
                return


def lines(db: sqlite3.Connection, run: str, numbers: Sequence[int]) -> list[LogLine]:
    """Of these numbers, those that are stored, by number. Each block is opened once: about 0.5 ms."""
    found: list[LogLine] = []
    waiting = np.unique(np.asarray(numbers, np.int64))
    with schema.transaction(db, "DEFERRED"):
        while len(waiting):
            store.check()
            row = db.execute(_HOLDING, (run, int(waiting[0]))).fetchone()
            if row is None:
                break
            block = BlockRow._make(row)
            count = int(np.searchsorted(waiting, block.last_line, "right"))
            found += _chosen(block, waiting[:count])
            waiting = waiting[count:]
    return found


def _chosen(row: BlockRow, numbers: NDArray[np.int64]) -> list[LogLine]:
    columns, data = decoded("log", row.id, codec.decode, row.columns), decoded("log", row.id, codec.unseal, row.texts)
    if columns is None or data is None:
        return []
    places = np.minimum(np.searchsorted(columns[0], numbers), len(columns[0]) - 1)  # numbers rise in a block
    at = places[columns[0][places] == numbers]
    ends = [-1, *np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n")).tolist(), len(data)]
    texts = [data[ends[place] + 1 : ends[place + 1]].decode("utf-8", "surrogatepass") for place in at.tolist()]
    names = orjson.loads(row.files)
    number, time_s, level, file, rank, template = (column[at].tolist() for column in full(columns))
    block = LineBlock(row.run, number, time_s, level, [names[place] for place in file], rank, texts, template)
    return [block.line(place) for place in range(len(at))]


def _numbers(row: int, blob: bytes) -> NDArray[np.int64] | None:
    columns = decoded("log", row, codec.decode, blob)
    return None if columns is None else columns[0].astype(np.int64)
