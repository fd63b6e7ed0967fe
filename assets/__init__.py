"""The browser code as a package, so that Dash can serve it, also in apps of others that use our components.

`built/modules.js` and `built/modules.css` are all modules and all styles in one file each, as esbuild makes them of those beside them.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("deepseek-dashboard")
except PackageNotFoundError:  # a checkout
    __version__ = "0"

FOLDER = Path(__file__).resolve().parent
BUILT = FOLDER / "built"
NAMES = ("modules.js", "modules.css")
DIGEST = BUILT / "sources"  # what they were built of


def sources_digest() -> str:
    """Another one when a module or a style is."""
    digest = hashlib.sha256()
    for path in sorted(path for kind in ("*.js", "*.css") for path in FOLDER.rglob(kind)):
        if not path.is_relative_to(BUILT):
            digest.update(f"{path.relative_to(FOLDER)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def is_built() -> bool:
    """Whether they were built of what stands beside them now."""
    try:
        return DIGEST.read_text() == sources_digest()
    except OSError:
        return False
