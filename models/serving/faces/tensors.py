"""Values of JSON and bytes as arrays of a model's types, and back; the words of the Open Inference Protocol for types."""

from __future__ import annotations

import math
import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ...artifact.manifest import TensorSpec
from ..core.refusal import bad

if TYPE_CHECKING:
    import numpy as np

    AnyArray = np.ndarray[Any, Any]

DATATYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "str": "BYTES",
}  # by numpy's word
DTYPES_OF = {word: dtype for dtype, word in DATATYPES.items()}
FITS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}  # kinds of JSON values that a kind of type takes
HALF = "e"  # numpy's letter of float16, which the encoder does not know
MOST_RANK = 32  # of numpy 1; more is no model's
SHOWN = 60


def array_of(value: Any, dtype: str, name: str) -> AnyArray:
    """Of lists of numbers or texts, as JSON has them. Raises ServingRefusal with the input's name."""
    import numpy as np

    if dtype == "str":
        return _texts(value, name)
    try:
        found = np.array(value)
    except (ValueError, TypeError, OverflowError):
        raise bad(f"input {name!r} has rows of different lengths") from None
    if not found.size:
        return found.astype(dtype)
    wanted = np.dtype(dtype)
    if found.dtype.kind not in FITS.get(wanted.kind, ""):
        raise bad(f"input {name!r} has values that are no {dtype} numbers")
    if wanted.kind in "iu":
        limits = np.iinfo(wanted)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise bad(f"input {name!r} has values beyond {limits.min} to {limits.max} of {dtype}")
    try:
        with np.errstate(over="raise"):
            return found.astype(wanted, copy=False)
    except FloatingPointError:
        raise bad(f"input {name!r} has values beyond {np.finfo(wanted).max:g} of {dtype}") from None


def shaped(found: AnyArray, shape: Any, name: str) -> AnyArray:
    """Raises ServingRefusal where the values do not fill the shape."""
    sizes = shape_of(shape, name)
    if math.prod(sizes) != found.size:
        raise bad(f"input {name!r} has {found.size} values, and the shape {list(sizes)} takes {math.prod(sizes)}")
    return found.reshape(sizes)


def shape_of(shape: Any, name: str) -> tuple[int, ...]:
    """Raises ServingRefusal."""
    if (
        not isinstance(shape, (list, tuple))
        or not all(type(size) is int and 0 <= size < 1 << 40 for size in shape)
        or len(shape) > MOST_RANK
    ):
        raise bad(f"input {name!r} has no shape such as [1, 3]")
    return tuple(shape)


def from_raw(content: bytes | memoryview, datatype: str, shape: Any, name: str) -> AnyArray:
    """Of little-endian values, as the protocol's binary form has them. Raises ServingRefusal."""
    import numpy as np

    dtype = dtype_of(datatype, name)
    if dtype == "str":
        return shaped(np.array(_unpacked(bytes(content), name), object), shape, name)
    item, sizes = _item(dtype), shape_of(shape, name)
    if len(content) != (wanted := item.own.itemsize * math.prod(sizes)):
        raise bad(f"input {name!r} has {len(content)} bytes, and {datatype} {list(shape)} takes {wanted}")
    return np.frombuffer(content, item.little).astype(item.own, copy=False).reshape(sizes)


class _Item(NamedTuple):
    """A type in this machine's order of bytes, and in the protocol's."""

    own: np.dtype[Any]
    little: np.dtype[Any]


@cache
def _item(dtype: str) -> _Item:
    import numpy as np

    return _Item(np.dtype(dtype), np.dtype(dtype).newbyteorder("<"))


def as_raw(value: AnyArray) -> bytes:
    """The protocol's binary form."""
    if value.dtype.kind in "OUS":
        return b"".join(struct.pack("<I", len(part)) + part for part in (_bytes(item) for item in value.reshape(-1)))
    return value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()


def dtype_of(datatype: Any, name: str) -> str:
    """Raises ServingRefusal."""
    found = DTYPES_OF.get(datatype) if isinstance(datatype, str) else None
    if found is None:
        raise bad(f"input {name!r} has the datatype {str(datatype)[:SHOWN]!r}; there are {', '.join(DTYPES_OF)}")
    return found


def datatype_of(value: AnyArray) -> str:
    return _datatype_of(value.dtype)


@lru_cache(256)
def _datatype_of(dtype: np.dtype[Any]) -> str:
    return "BYTES" if dtype.kind in "OUS" else DATATYPES[dtype.name]


def spec_named(specs: tuple[TensorSpec, ...], name: str) -> TensorSpec | None:
    return next((spec for spec in specs if spec.name == name), None)


def as_values(value: AnyArray) -> Any:
    """For JSON: lists of numbers, or of texts."""
    if value.dtype.kind in "OUS":
        return (
            [_bytes(item).decode("utf-8", "replace") for item in value.reshape(-1)]
            if value.ndim == 1
            else value.astype(str).tolist()
        )
    if value.dtype.char == HALF:
        return value.astype("float32").tolist()
    return value if value.flags.c_contiguous else value.tolist()


def _texts(value: Any, name: str) -> AnyArray:
    import numpy as np

    found = np.array(value, object)
    if not all(isinstance(item, str) for item in found.reshape(-1)):
        raise bad(f"input {name!r} has values that are no text")
    return found


def _unpacked(content: bytes, name: str) -> list[str]:
    items, place = [], 0
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "little")
        place += 4 + length
        if place > len(content):
            raise bad(f"input {name!r} is cut within a text")
        items.append(_text(content[place - length : place], name))
    return items


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise bad(f"input {name!r} has a text that is not UTF-8") from None


def texts_of(values: list[bytes], name: str) -> AnyArray:
    """Raises ServingRefusal."""
    import numpy as np

    return np.array([_text(value, name) for value in values], object)


def _bytes(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode("utf-8", "replace")
