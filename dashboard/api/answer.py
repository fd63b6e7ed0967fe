"""Answers as JSON, each with its type: the shape of an answer is written once, in the file of its noun, and OpenAPI shows it.

Times are Unix seconds. Missing values are null; logged values that are not finite travel as strings.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from .encoding import encode

T = TypeVar("T")
FEW = 16  # values, as in a delta: fewer are looked at faster in a list


class Answer(Response, Generic[T]):
    """`-> Answer[RunList]` names a route's answer. Numpy columns are written unchanged."""

    media_type = "application/json"

    def __init__(self, content: T, status_code: int = 200, headers: Any = None) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else encode(content)


def of_media(*media: str) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route whose answer may be none of JSON: `of_media("text/csv")`."""
    return {200: {"content": {each: {} for each in media}}}


class _Items:
    """Describes a numpy column to pydantic; nothing is checked."""

    def __init__(self, items: dict[str, Any]) -> None:
        self._items = items

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.any_schema()

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "array", "items": self._items}


_NUMBER, _NULL, _WORD = (
    {"type": "number"},
    {"type": "null"},
    {"type": "string", "enum": ["NaN", "Infinity", "-Infinity"]},
)
Column: TypeAlias = Annotated[NDArray[np.float64], _Items(_NUMBER)]
Gaps: TypeAlias = Annotated[NDArray[np.float64], _Items({"anyOf": [_NUMBER, _NULL]})]  # null for what is missing
Counts: TypeAlias = Annotated[NDArray[np.int64], _Items({"type": "integer"})]
Logged: TypeAlias = Annotated[NDArray[np.float64] | list[float | str], _Items({"anyOf": [_NUMBER, _WORD]})]


def numbers(values: NDArray[np.float64]) -> NDArray[np.float64] | list[float | str]:
    """Values that were logged: non-finite ones travel as the strings "NaN", "Infinity", "-Infinity"."""
    if len(values) > FEW:
        return values if np.isfinite(values).all() else [number(value) for value in values.tolist()]
    listed: list[float | str] = values.tolist()
    return listed if all(map(math.isfinite, values.tolist())) else [number(value) for value in values.tolist()]


def number(value: float) -> float | Literal["NaN", "Infinity", "-Infinity"]:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
