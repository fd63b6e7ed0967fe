"""What a compression has made so far, in a folder: artifacts and arrays by name, so that it goes on where it was stopped."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..artifact import Artifact
from ..errors import BadArtifact, ModelsError, cannot_write

if TYPE_CHECKING:
    import numpy as np

RECIPE = "recipe.json"


class WorkFolder:
    """`about` is what all in it depends on: data, teacher, plan. Raises ModelsError for a folder of another compression."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path = path
        text = json.dumps(about, indent=1, sort_keys=True) + "\n"
        try:
            path.mkdir(parents=True, exist_ok=True)
            recipe = path / RECIPE
            if not recipe.exists() or not recipe.stat().st_size:  # empty: the disk was full, or the process killed
                if set(path.iterdir()) - {recipe}:
                    raise ModelsError(f"{path} has other files in it; give an empty folder, or a new one, as --work")
                recipe.write_text(text)
            self._compare(recipe.read_text(errors="replace"), about)
        except OSError as error:
            raise cannot_write(path, error) from error

    def __enter__(self) -> WorkFolder:
        """Raises ModelsError while another compression is at work in it."""
        try:
            self._recipe = (self.path / RECIPE).open("rb")
        except OSError as error:
            raise cannot_write(self.path, error) from error
        try:
            fcntl.flock(self._recipe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._recipe.close()
            raise ModelsError(
                f"another compression is at work in {self.path}; wait for its end, or give another folder as --work"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._recipe.close()

    def artifact(self, name: str, make: Callable[[Path], Artifact]) -> Artifact:
        """The one of that name, checked; made in this folder if it is not there, or is damaged."""
        folder = self.path / name
        if folder.exists():
            try:
                return Artifact.open(folder)
            except BadArtifact:
                shutil.rmtree(folder)
        return make(folder)

    def array(self, name: str, make: Callable[[], np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        """As `artifact`."""
        import numpy as np

        path, part = self.path / f"{name}.npy", self.path / f"{name}.part"
        try:
            found: np.ndarray[Any, Any] = np.load(path, allow_pickle=False)
            return found
        except (OSError, ValueError, EOFError):
            made = make()
        try:
            with part.open("wb") as file:
                np.save(file, made, allow_pickle=False)
            part.rename(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise cannot_write(path, error) from error
        return made

    def _compare(self, text: str, about: dict[str, Any]) -> None:
        try:
            before = json.loads(text)
        except ValueError:
            before = {}
        for key, value in about.items():
            if not isinstance(before, dict) or before.get(key) != json.loads(json.dumps(value)):
                known = before.get(key) if isinstance(before, dict) else None
                raise ModelsError(
                    f"{self.path} belongs to a compression with {key} {known!r}, not {value!r}; give another folder as --work"
                )
