"""From a picture to the tensor that an image model takes, as its row says.

Shapes: H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ModelsError, needed

if TYPE_CHECKING:
    import numpy as np

MOST_PIXELS = 50_000_000  # after resizing
FILTERS = {"bilinear": "BILINEAR", "bicubic": "BICUBIC", "nearest": "NEAREST", "lanczos": "LANCZOS"}


def prepared(image: Any, preprocessing: dict[str, Any]) -> np.ndarray[Any, Any]:
    """float32 [1, 3, H, W]: the shorter side resized, the middle cut out, scaled to 0..1, mean and deviation taken out.

    `preprocessing` has size [H, W], resize (the shorter side; None keeps the picture's own), interpolation, mean and std.
    """
    import numpy as np

    picture = _picture(image)
    if preprocessing.get("resize"):
        shorter = preprocessing["resize"] / min(picture.size)
        width, height = (max(1, round(side * shorter)) for side in picture.size)
        if width * height > MOST_PIXELS:
            raise ModelsError(
                f"an image of {picture.width} x {picture.height} pixels is too narrow to be resized: cut out the part that counts"
            )
        picture = picture.resize(
            (width, height), getattr(needed("PIL.Image").Resampling, FILTERS[preprocessing["interpolation"]])
        )
    if preprocessing.get("size"):
        height, width = preprocessing["size"]
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    values_HW3 = np.asarray(picture, np.float32) / 255
    values_HW3 = (values_HW3 - np.array(preprocessing["mean"], np.float32)) / np.array(preprocessing["std"], np.float32)
    return np.ascontiguousarray(values_HW3.transpose(2, 0, 1)[None])


def _picture(image: Any) -> Any:
    import numpy as np

    pil = needed("PIL.Image")
    if isinstance(image, pil.Image) and image.width and image.height:
        return image.convert("RGB")
    if (
        isinstance(image, np.ndarray)
        and image.dtype == np.uint8
        and image.ndim == 3
        and image.shape[2] == 3
        and image.size
    ):
        return pil.fromarray(image)
    raise ModelsError("an image is a PIL image, or an array of uint8 with height, width and 3 channels")
