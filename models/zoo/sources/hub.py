"""Download a model's files from the hub by huggingface_hub, and say in one sentence why that was not possible."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ...artifact.hashing import file_of
from ...errors import ModelsError
from ...extras import needed
from ..folder import hub_cache
from ..lock import LockedFile, LockedModel, today
from ..row import ZooRow
from .unreachable import Unreachable

# What a model is made of; code, other frameworks' weights and pictures are left there.
SMALL_FILES = re.compile(
    r"(config|generation_config|preprocessor_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|modules|"
    r"config_sentence_transformers|sentence_bert_config|1_Pooling/config)\.json|(merges|vocab)\.txt|[\w-]+\.model"
)
SAFETENSORS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
PICKLED = re.compile(
    r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json"
)  # opened with weights_only=True


LICENCE = re.compile(r"[a-z0-9][a-z0-9._+ -]{0,63}")
REVISION = re.compile(r"[0-9a-f]{40,64}")
ANSWER_S = 30.0  # for the description; the library itself waits for ever
CUT = ("ReadError", "RemoteProtocolError", "CloseError", "ReadTimeout")  # of httpx: once bytes have come


class HubFile(NamedTuple):
    path: str
    bytes: int
    sha256: str  # of a file of Git LFS, else ""
    git_sha1: str  # of all others


class HubModel(NamedTuple):
    """A repository at one commit, as the hub describes it."""

    id: str
    revision: str
    licence: str
    parameters: int | None  # as the hub read them from the safetensors
    files: tuple[HubFile, ...]  # those of a model


def look_up(row: ZooRow, revision: str | None) -> HubModel:
    """At a commit, or the newest one. Raises ModelsError; Unreachable where the hub did not answer."""
    hub = needed("huggingface_hub")
    with _sentences(row, revision):
        try:
            info = hub.HfApi().model_info(row.id, revision=revision, files_metadata=True, timeout=ANSWER_S)
            return _described(row, info)
        except (TypeError, KeyError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            at = needed("huggingface_hub.constants").ENDPOINT
            raise ModelsError(
                f"{at} answered something that does not describe {row.id}: a hub that is broken, or the page of a proxy; look at {at}/{row.id}"
            ) from error


def _described(row: ZooRow, info: Any) -> HubModel:
    """Raises ModelsError for a model without weights, TypeError for fields that cannot be what they should."""
    card = info.card_data.to_dict() if info.card_data else {}
    named = [file for file in info.siblings or () if SMALL_FILES.fullmatch(file.rfilename)]
    weights = [file for file in info.siblings or () if SAFETENSORS.fullmatch(file.rfilename)]
    weights = weights or [file for file in info.siblings or () if PICKLED.fullmatch(file.rfilename)]
    if not weights:
        raise ModelsError(
            f"{row.id} has neither safetensors nor pytorch_model.bin at the hub, and nothing else is opened"
        )
    files = tuple(
        HubFile(file.rfilename, file.size or 0, file.lfs.sha256 if file.lfs else "", file.blob_id or "")
        for file in (*named, *weights)
    )
    if not REVISION.fullmatch(info.sha) or not all(type(file.bytes) is int and file.bytes >= 0 for file in files):
        raise TypeError("the commit becomes the name of a folder")
    counted = info.safetensors.total if info.safetensors else None
    return HubModel(row.id, info.sha, _licence(card), counted if type(counted) is int else None, files)


def _licence(card: dict[str, Any]) -> str:
    """`license: other` has its name in a field of its own."""
    licence = card.get("license") or ""
    licence = licence[0] if isinstance(licence, list) and licence else licence
    name = str(card.get("license_name") or licence if licence == "other" else licence).casefold()
    return name if LICENCE.fullmatch(name) else "other" if name else ""


def download(row: ZooRow, model: HubModel) -> LockedModel:
    """All its files into huggingface_hub's cache, with the hash of each checked or taken. Raises ModelsError; a broken file is removed."""
    hub = needed("huggingface_hub")
    cache = hub_cache()
    _require_space(row, model, cache)
    files = {}
    for file in model.files:
        with _sentences(row, model.revision), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of too little space: see above
            path = Path(hub.hf_hub_download(row.id, file.path, revision=model.revision, cache_dir=cache))
        found = _locked(path)
        if not _is_as_stated(path, file, found):
            remove(path)
            raise ModelsError(
                f"{file.path} of {row.id} arrived with another hash than the hub states: it was removed; run it again, and if that does not "
                f"help, the hub, or what lies between, serves other bytes"
            )
        files[file.path] = found
    return LockedModel(row.id, model.revision, files, model.licence, model.parameters, today())


def _is_as_stated(path: Path, file: HubFile, found: LockedFile) -> bool:
    if file.sha256:
        return found.sha256 == file.sha256
    if not file.git_sha1:
        return True
    content = path.read_bytes()  # small: git keeps it
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == file.git_sha1


def _locked(path: Path) -> LockedFile:
    found = file_of(path)
    return LockedFile(found.sha256, found.bytes)


def snapshot(row_id: str, revision: str) -> Path:
    """The folder of these files in the cache; it need not exist."""
    return hub_cache() / f"models--{row_id.replace('/', '--')}" / "snapshots" / revision


def remove(path: Path) -> None:
    """Of the cache, with the blob that it links to."""
    blob = path.resolve()
    path.unlink(missing_ok=True)
    blob.unlink(missing_ok=True)


def _require_space(row: ZooRow, model: HubModel, cache: Path) -> None:
    """Raises ModelsError where the disk has less room than the files that are lacking need."""
    there = snapshot(row.id, model.revision)
    lacking = sum(file.bytes for file in model.files if not (there / file.path).exists())
    place = next(folder for folder in (cache, *cache.parents) if folder.exists())
    stat = os.statvfs(place)
    free = stat.f_bavail * stat.f_frsize
    if free < lacking:
        raise ModelsError(
            f"{row.name} needs {lacking / 1e6:,.0f} MB, and the disk of {place} has {free / 1e6:,.0f} MB free: make room, or name a "
            f"folder on another disk with HF_HOME"
        )


@contextmanager
def _sentences(row: ZooRow, revision: str | None) -> Iterator[None]:
    """The library's errors as ModelsError."""
    errors = needed("huggingface_hub.errors")
    endpoint = needed("huggingface_hub.constants").ENDPOINT
    at = f"{row.id} at {endpoint}"
    advice = logging.getLogger("huggingface_hub")
    level = advice.level
    advice.setLevel(logging.ERROR)  # it warns at each attempt of which the last is raised
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelsError(
            f"{at} is open only to those who accepted its terms: accept them at {endpoint}/{row.id}, log in with: hf auth login, and run it again"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelsError(
            f"{at} has no revision {revision}, which zoo.lock names: take the newest with: deepseek-models fetch {row.name} --update"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelsError(f"{at} is not there, or is private: with access to it log in with: hf auth login") from error
    except errors.LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            raise _refused(at, error.__cause__.response.status_code) from error
        raise Unreachable(f"{endpoint} cannot be reached") from error
    except errors.OfflineModeIsEnabled as error:
        raise Unreachable("HF_HUB_OFFLINE is set") from error
    except errors.HfHubHTTPError as error:
        raise _refused(at, error.response.status_code) from error
    except errors.HTTPError as error:  # the connection failed, or was cut
        if type(error).__name__ in CUT:
            raise ModelsError(f"the connection to {at} was cut: run it again; no broken file is kept") from error
        raise Unreachable(f"{endpoint} cannot be reached ({type(error).__name__})") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelsError(
                f"the disk of {hub_cache()} became full while {row.name} arrived: make room, or name a folder on another disk with HF_HOME, "
                f"and run it again; no broken file is kept"
            ) from error
        if error.errno is None:  # the library's own check of the size
            raise ModelsError(f"the connection to {at} was cut: run it again; no broken file is kept") from error
        raise ModelsError(
            f"cannot write to {hub_cache()} ({error.strerror}); name another folder with HF_HOME"
        ) from error
    finally:
        advice.setLevel(level)


def _refused(at: str, status: int) -> ModelsError:
    if status in (401, 403):
        return ModelsError(f"{at} answered {status}: log in with: hf auth login, and run it again")
    if status == 404:
        return ModelsError(f"{at} lacks a file that it lists: run it again later")
    return ModelsError(f"{at} answered {status}: run it again later")
