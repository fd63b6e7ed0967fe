"""Stores batches of records so that one that cannot be stored affects only itself, and none is stored twice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..records import Offset, Record
from .store import OffsetGap, Store, StoreError

log = logging.getLogger(__name__)


class RefusedRecord(NamedTuple):
    """A record that the store did not take, and why."""

    record: Record
    path: str  # of the file that it was read from; "" where it came from none
    reason: str


def store_all(store: Store, records: Sequence[Record]) -> list[RefusedRecord]:
    """Append all records that the store takes, in one commit with their offsets; return the others.

    An offset that cannot be stored takes the other records of its file with it. Raises StoreError if the store fails, and not a
    record, and OffsetGap: then nothing was kept.
    """
    try:
        store.append(records)
        return []
    except (StoreError, OffsetGap):
        raise
    except OSError as error:
        raise _failing(error) from error
    except Exception as error:  # a record that the store cannot take: it is found by halving, and counted
        log.warning("a record cannot be stored: %s: %s", type(error).__name__, error)
        return _without_the_bad(store, records, error)


def unstored(records: Sequence[Record], stored: Callable[[str], Offset | None]) -> Sequence[Record]:
    """The records without those of a file that are stored already, with their offsets; `stored` returns the offset of a file.

    Raises OffsetGap where the records of a file begin behind what is stored of it, or where only a part of them is stored.
    """
    reached: dict[str, Offset | None] = {}
    overlaps: set[int] = set()  # places of offsets
    for place, record in enumerate(records):
        if isinstance(record, Offset):
            if record.path not in reached:
                reached[record.path] = stored(record.path)
            before = reached[record.path]
            start = before.reached if before else (0, 0)
            if record.after is None or record.after == start:
                reached[record.path] = record
            elif before is not None and record.is_within(before):
                overlaps.add(place)
            else:
                raise OffsetGap(record.path, record.after, start)
    if not overlaps:
        return records
    return [record for record, place in zip(records, _offsets(records), strict=True) if place not in overlaps]


def _without_the_bad(store: Store, records: Sequence[Record], error: Exception) -> list[RefusedRecord]:
    bad = dict(_bad(store, records, 0, error))
    if len(bad) == len(records) > 1:
        raise _failing(error) from error
    paths = _paths(records)
    refused = [RefusedRecord(records[i], paths[i], f"{type(bad[i]).__name__}: {bad[i]}") for i in sorted(bad)]
    without_offset = {
        paths[i] for i in bad if isinstance(records[i], Offset)
    }  # their records would be read again, and stored twice
    kept = [record for i, record in enumerate(records) if i not in bad and paths[i] not in without_offset]
    try:
        store.append(_counted(kept, refused))
    except (StoreError, OSError, OffsetGap):
        raise
    except Exception as together:  # each alone is taken, all of them are not: no record is at fault
        raise _failing(together) from together
    return refused


def _bad(store: Store, records: Sequence[Record], first: int, error: Exception) -> Iterator[tuple[int, Exception]]:
    """Places of the records that cannot be stored, with the store's reason for each; `first` is the place of records[0]."""
    if len(records) == 1:
        yield first, error
        return
    half = len(records) // 2
    for part, start in ((records[:half], first), (records[half:], first + half)):
        try:
            store.rehearse(part)
        except StoreError:
            raise
        except OSError as failure:
            raise _failing(failure) from failure
        except Exception as reason:  # look for it in the half
            yield from _bad(store, part, start, reason)


def _offsets(records: Sequence[Record]) -> list[int]:
    """For each record the place of the next offset, which is that of the file it came from; -1 where it came from none."""
    places, place = [], -1
    for i in range(len(records) - 1, -1, -1):
        place = i if isinstance(records[i], Offset) else place
        places.append(place)
    return places[::-1]


def _paths(records: Sequence[Record]) -> list[str]:
    """For each record the file that it came from, else ""."""
    offsets = (records[place] if place >= 0 else None for place in _offsets(records))
    return [offset.path if isinstance(offset, Offset) else "" for offset in offsets]


def _counted(records: list[Record], refused: Sequence[RefusedRecord]) -> list[Record]:
    """With the refused records in the tallies of their files."""
    return [_with_refused(record, refused) if isinstance(record, Offset) else record for record in records]


def _with_refused(offset: Offset, refused: Sequence[RefusedRecord]) -> Offset:
    mine = [record for record in refused if record.path == offset.path]
    if not mine:
        return offset
    return offset._replace(
        lines_skipped=offset.lines_skipped + len(mine), first_skip=offset.first_skip or sentence(mine[0].reason)
    )


def sentence(reason: str) -> str:
    """What a file's tally says of a record that the store refused."""
    return f"a record cannot be stored ({reason[:200]})"


def _failing(error: Exception) -> StoreError:
    return StoreError(
        f"nothing was stored ({type(error).__name__}: {error}); collection continues automatically once the store takes records"
    )
