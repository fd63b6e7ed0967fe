"""Stores batches of records so that one that cannot be stored affects only itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
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


def _paths(records: Sequence[Record]) -> list[str]:
    """For each record the file that it came from: that of the next offset."""
    paths, path = [], ""
    for record in reversed(records):
        path = record.path if isinstance(record, Offset) else path
        paths.append(path)
    return paths[::-1]


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
