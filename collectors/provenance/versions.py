"""The versions of the libraries that a Python process uses, from the folders that it imports from; nothing is imported into it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..process.proc import PROC

KNOWN = frozenset(
    [
        "torch",
        "torchvision",
        "torchaudio",
        "triton",
        "numpy",
        "transformers",
        "accelerate",
        "datasets",
        "tokenizers",
        "peft",
        "trl",
        "diffusers",
        "lightning",
        "pytorch_lightning",
        "deepspeed",
        "megatron_core",
        "flash_attn",
        "transformer_engine",
        "apex",
        "xformers",
        "bitsandbytes",
        "vllm",
        "sglang",
        "jax",
        "jaxlib",
        "tensorflow",
        "keras",
        "torchtitan",
        "torchao",
        "ray",
    ]
)
DISTRIBUTION = re.compile(r"([A-Za-z0-9][\w.]*)-([\w.+!]+)\.(dist|egg)-info")  # torch-2.9.0+cu128.dist-info
OF_NVIDIA = re.compile(r"nvidia_(nccl|cuda_runtime|cudnn|cublas)(_cu\d+)?")
FOLDER = re.compile(rb"(/[^\n]*?/(?:site|dist)-packages)/[^\n]*\.so")  # in /proc/<pid>/maps
CUDA = re.compile(r"^cuda\b[^=\n]*=\s*['\"]([\d.]+)['\"]", re.MULTILINE)
OF_PYTHON = re.compile(r"/(?:lib|lib64)/python(\d\.\d+)t?(?:/|$)")
VENV_VERSION = re.compile(r"^version(?:_info)?\s*=\s*(\d+\.\d+\.\d+)", re.MULTILINE)
DRIVER = re.compile(r"Kernel Module\s.*?\b(\d{3,}\.[\d.]+)")
MOST_MAPS_BYTES, MOST_TEXT_BYTES, MOST_ENTRIES = 8 << 20, 1 << 16, 20_000
PREFIXES = ("VIRTUAL_ENV", "CONDA_PREFIX")  # variables that name one


class Versions(NamedTuple):
    """`None` is what cannot be known."""

    python: str | None = None
    cuda: str | None = None  # that torch was built with
    nccl: str | None = None  # installed beside it
    libraries: Mapping[str, str] = {}


def versions_of(
    pid: int, interpreters: Sequence[str], environment: Mapping[str, str], root: str, proc: Path = PROC
) -> Versions:
    """Where two folders have a library, the first one counts. `interpreters` are paths where its Python may lie, none where it is another program;
    `root` is put before what the process names.
    """
    folders = list(
        dict.fromkeys(
            [
                *_mapped(proc / str(pid) / "maps"),
                *(_packages(pid, interpreters, environment, root, proc) if interpreters else []),
            ]
        )
    )
    found: dict[str, str] = {}
    with_torch: Path | None = None
    for folder in (Path(f"{root}{folder}") for folder in folders):
        here = dict(_distributions(folder))
        found = {**here, **found}
        if with_torch is None and (folder / "torch" / "version.py").is_file():
            with_torch = folder
    nvidia = {match[1]: version for name, version in found.items() if (match := OF_NVIDIA.fullmatch(name))}
    cuda = CUDA.search(_text(with_torch / "torch" / "version.py")) if with_torch else None
    libraries = {name: version for name, version in sorted(found.items()) if name in KNOWN or OF_NVIDIA.fullmatch(name)}
    python = next((version for folder in folders if (version := _python_of(folder, root))), None)
    return Versions(python, cuda[1] if cuda else nvidia.get("cuda_runtime"), nvidia.get("nccl"), libraries)


def driver_version(proc: Path = PROC) -> str | None:
    """Of the NVIDIA driver that is loaded, where there is one."""
    found = DRIVER.search(_text(proc / "driver" / "nvidia" / "version"))
    return found[1] if found else None


def _mapped(maps: Path) -> list[str]:
    """The folders that it has loaded libraries from: the truth, where it has loaded any."""
    try:
        with maps.open("rb") as opened:
            data = opened.read(MOST_MAPS_BYTES)
    except OSError:
        return []
    return list(dict.fromkeys(folder.decode("utf-8", "replace") for folder in FOLDER.findall(data)))


def _packages(
    pid: int, interpreters: Sequence[str], environment: Mapping[str, str], root: str, proc: Path
) -> Iterator[str]:
    """Where such a Python looks for packages."""
    there = next((path for path in interpreters if os.path.lexists(f"{root}{path}")), None)
    prefixes = [str(Path(there).parent.parent)] if there else []
    prefixes += [environment[name] for name in PREFIXES if environment.get(name, "").startswith("/")]
    with suppress(OSError):
        prefixes.append(str((proc / str(pid) / "exe").readlink().parent.parent))
    for prefix in dict.fromkeys(prefixes):
        for pattern in ("lib/python3*/site-packages", "lib/python3*/dist-packages", "local/lib/python3*/dist-packages"):
            yield from (str(path).removeprefix(root) for path in islice(Path(f"{root}{prefix}").glob(pattern), 8))


def _distributions(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        names = [entry.name for entry in islice(folder.iterdir(), MOST_ENTRIES)]
    except OSError:
        return
    for name in names:
        if match := DISTRIBUTION.fullmatch(name):
            yield match[1].lower().replace(".", "_"), match[2]


def _python_of(folder: str, root: str) -> str | None:
    """`/venv/lib/python3.11/site-packages` -> what its pyvenv.cfg says, else `3.11`."""
    found = OF_PYTHON.search(folder)
    if found is None:
        return None
    said = VENV_VERSION.search(_text(Path(f"{root}{folder[: found.start()]}") / "pyvenv.cfg"))
    return said[1] if said and said[1].startswith(found[1]) else found[1]


def _text(file: Path) -> str:
    try:
        if not file.is_file():
            return ""
        with file.open("rb") as opened:
            return opened.read(MOST_TEXT_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
