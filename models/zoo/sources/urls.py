"""Weights at a plain address, as torchvision names them: downloaded by torch.hub, with the hash that the address names."""

from __future__ import annotations

import errno
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from ...artifact.hashing import file_of
from ...errors import ModelsError, cannot_write
from ...extras import needed
from ..folder import make
from ..lock import LockedFile, LockedModel, today
from ..row import ZooRow
from .unreachable import Unreachable

SILENT_S = 30.0  # without a byte; torch.hub itself waits for ever
NAMED_HASH = re.compile(r"-([a-f0-9]{8,64})\.\w+$")  # resnet50-11ad3fa6.pth: the first digits of its SHA-256


def place_of(row: ZooRow, folder: Path) -> Path:
    """Of its file; it need not exist."""
    return folder / "urls" / row.id.rpartition("/")[2]


def download(row: ZooRow, folder: Path) -> LockedModel:
    """Where it is not there yet. Raises ModelsError; nothing broken is kept."""
    hub, place = needed("torch.hub"), place_of(row, folder)
    named = NAMED_HASH.search(row.id)
    if not place.exists():
        make(place.parent)
        try:
            with _patience(SILENT_S):
                hub.download_url_to_file(row.id, str(place), named and named[1], progress=sys.stderr.isatty())
        except RuntimeError as error:  # torch's check of the named hash
            raise ModelsError(
                f"{row.id} was cut, or arrived with another SHA-256 than its name says: it was removed; run it again, and if that does not "
                f"help, the server, or what lies between, serves other bytes"
            ) from error
        except TimeoutError as error:
            raise ModelsError(
                f"{row.id} sent nothing for {SILENT_S:g} s: run it again; no broken file is kept"
            ) from error
        except (HTTPException, ConnectionError) as error:
            raise ModelsError(f"the connection to {row.id} was cut: run it again; no broken file is kept") from error
        except HTTPError as error:
            raise ModelsError(
                f"{row.id} answered {error.code}: run it again later, or update deepseek-dashboard"
            ) from error
        except URLError as error:
            raise Unreachable(f"{row.id} cannot be reached ({error.reason})") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ModelsError(
                    f"the disk of {place.parent} became full while {row.name} arrived: make room, or name another folder with "
                    f"DEEPSEEK_MODELS_DIR, and run it again; no broken file is kept"
                ) from error
            raise cannot_write(place, error) from error
    hashed = file_of(place)
    found = LockedFile(hashed.sha256, hashed.bytes)
    if named and not found.sha256.startswith(named[1]):
        place.unlink()
        raise ModelsError(f"{place} had another SHA-256 than its name says: it was removed; run it again")
    return LockedModel(row.id, "", {place.name: found}, row.licence, None, today())


@contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Of all connections that are made meanwhile, for one thread at a time: torch.hub has no setting of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
