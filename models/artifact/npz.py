"""Read arrays from an .npz file: nothing is unpickled, and whatever is wrong with the file is one error."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

REASON_CHARS = 100


def arrays_in(path: Path, names: Collection[str] = ()) -> dict[str, np.ndarray[Any, Any]]:
    """By name, all of them or these. Raises OSError where it cannot be opened, ValueError with the reason where it is damaged or lacks one."""
    import numpy as np

    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("it is no .npz file, or it was cut")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                if lacking := set(names) - set(archive.files):
                    raise ValueError(f"it has no array {min(lacking)}")
                found = {name: archive[name] for name in names or archive.files}
        except MemoryError as error:
            raise ValueError("its arrays are larger than the memory of this host") from error
        except Exception as error:  # of zlib, zipfile, and numpy's reading of a header, each with exceptions of its own
            raise ValueError(" ".join(str(error).split())[:REASON_CHARS] or type(error).__name__) from error
    if odd := [name for name, value in found.items() if not isinstance(value, np.ndarray)]:
        raise ValueError(f"{odd[0]} is no array")
    return found
