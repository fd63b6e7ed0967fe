"""What a machine without network lacks, as wheels in one folder: python -m tests.gpu.wheels [FOLDER] makes it, where there is a network.

For every supported Python, so that the one that is found there is served. The native sampler lies beside them, linked statically:
it runs with any version of the C library.
"""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from collectors.sampler import build

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "gpu-wheels"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SAMPLER = "_sampler"
MAX_BYTES = 45_000_000
THERE = ("torch", "numpy", "pandas")  # expected of the machine: as wheels they take gigabytes, or must suit each other


class Package(NamedTuple):
    name: str  # as in requirements.txt
    module: str


PACKAGES = (
    Package("nvidia-ml-py", "pynvml"),
    Package("psutil", "psutil"),
    Package("orjson", "orjson"),
    Package("msgspec", "msgspec"),
    Package("prometheus-client", "prometheus_client"),
    Package("watchdog", "watchdog"),
    Package("pyyaml", "yaml"),
    Package("zstandard", "zstandard"),
    Package("google-re2", "re2"),
    Package("typing-extensions", "typing_extensions"),
)


class UnfitFolder(Exception):
    """The folder cannot be made; the text is one sentence with the remedy."""


def make(folder: Path = FOLDER, pythons: Sequence[str] = PYTHONS) -> int:
    """Bytes of the folder, which is made anew; the wheels suit this machine's processor. Raises UnfitFolder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = requirements((ROOT / "requirements.txt").read_text())
    for python in pythons:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-input",
        ]
        command += ["--only-binary=:all:", "--python-version", python, "--dest", str(folder), *wanted]
        if subprocess.run(command).returncode:
            raise UnfitFolder(f"pip finds no wheels for Python {python}: see its lines above")
    try:
        build.build(folder / SAMPLER, (*build.FLAGS, "-static"))
    except build.BuildError as error:
        raise UnfitFolder(f"the sampler cannot be linked statically: {error}") from error
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > MAX_BYTES:
        raise UnfitFolder(
            f"the folder has {size / 1e6:.0f} MB, {MAX_BYTES / 1e6:.0f} are allowed: ask for fewer Pythons"
        )
    return size


def requirements(text: str) -> list[str]:
    """Of the packages, with the versions of requirements.txt. Raises UnfitFolder for one that is not in it."""
    lines = {
        line.partition(">")[0].strip(): line.strip() for line in text.splitlines() if line and not line.startswith("#")
    }
    if absent := [package.name for package in PACKAGES if package.name not in lines]:
        raise UnfitFolder(f"requirements.txt has no {', '.join(absent)}")
    return [lines[package.name] for package in PACKAGES]


def unpack(folder: Path, into: Path) -> list[str]:
    """Those wheels that suit this Python, into one folder for sys.path, and the sampler in its place; the packages that are not there."""
    into.mkdir(parents=True, exist_ok=True)
    missing = []
    for package in PACKAGES:
        wheels = sorted(folder.glob(f"{package.name.replace('-', '_')}-*.whl"))
        suiting = [wheel for wheel in wheels if suits(wheel.name)]
        if suiting:
            with zipfile.ZipFile(suiting[-1]) as packed:
                packed.extractall(into)
        else:
            missing.append(package.name)
    if (folder / SAMPLER).exists() and build.find_program() is None:
        shutil.copy(folder / SAMPLER, build.PROGRAM)
        build.PROGRAM.chmod(0o755)
    return missing


def suits(wheel: str, version: tuple[int, int] = sys.version_info[:2], machine: str = platform.machine()) -> bool:
    """`zstandard-0.25.0-cp312-cp312-manylinux2014_x86_64.whl` suits Python 3.12 on x86_64."""
    *_, tags, abi, system = wheel.removesuffix(".whl").split("-")
    if system != "any" and machine not in system:
        return False
    if abi == "abi3":
        return any(tag.startswith("cp3") and int(tag[3:]) <= version[1] for tag in tags.split("."))
    return "py3" in tags.split(".") or f"cp{version[0]}{version[1]}" in tags.split(".")


def absent(modules: Sequence[str]) -> list[str]:
    """Those that cannot be found from here."""
    return [module for module in modules if importlib.util.find_spec(module) is None]


def main(folder: str = str(FOLDER)) -> int:
    try:
        size = make(Path(folder))
    except UnfitFolder as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{folder}: {size / 1e6:.0f} MB for Python {', '.join(PYTHONS)} on {platform.machine()}; copy it with this checkout."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
