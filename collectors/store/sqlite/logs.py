"""Log lines, and the progress bars below them: a block per commit and run, merged into compressed blocks of 2,000 lines or 4 MiB, searched newest first."""

from __future__ import annotations

import heapq
import itertools
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from ...records import LogLine, ProgressBar
from .. import question
from ..lines import UNKNOWN_TEMPLATE
from ..protocol import LogPage, LogQuery
from . import schema
from .columns import codec
from .columns.damage import decoded
from .lines import templates
from .lines.templates import TemplateWriter

UNGROUPED, GROUPED, COUNTED = 0, 1, 2  # `mined`: whether a block's lines have their templates, and are counted there
BLOCK_LINES = 2000
BLOCK_BYTES = 4 << 20  # of text: a block is opened as a whole, and a line may have a mebibyte
MANY_BLOCKS = 32  # of one run, that are worth merging
MANY_LINES = 500
NO_RANK = -1
NO_CURSOR = 1 << 62
MOST_CHARACTERS = 16_384  # of a line in an answer; it is searched whole
MOST_PAGE_CHARACTERS = 8_000_000
MOST_LIVE_LINES = 2000  # of a delta: a page shows fewer,
MOST_LIVE_BYTES = 4 << 20  # or so much text
MOST_BARS = 100  # of an answer
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
        if len(text) > MOST_CHARACTERS:
            text = f"{text[:MOST_CHARACTERS]} ... ({len(text):,} characters)"
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
    return [ProgressBar._make(row) for row in db.execute(newest, (run, MOST_BARS))][::-1]


def read_bars_after(
    db: sqlite3.Connection, seq: int, upto: int, runs: Collection[str] | None = None
) -> list[ProgressBar]:
    """The present state of bars that later commits changed, of these runs or of all; the newest 100."""
    after = "SELECT run, file, time_s, text FROM bar WHERE seq > ? AND seq <= ? ORDER BY seq DESC"
    bars = (ProgressBar._make(row) for row in db.execute(after, (seq, upto)))
    return list(itertools.islice((bar for bar in bars if runs is None or bar.run in runs), MOST_BARS))


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
    templates.count(db, ids)
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
        question.check()
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
    kept = sum(size <= MOST_PAGE_CHARACTERS for size in sizes)
    return found[-max(kept, 1) :]


def read_after(db: sqlite3.Connection, seq: int, upto: int, runs: Collection[str] | None = None) -> list[LogLine]:
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
        shared = list(by_run.values())[:MOST_LIVE_LINES]
        lines, size = (most // max(1, len(shared)) for most in (MOST_LIVE_LINES, MOST_LIVE_BYTES))
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
