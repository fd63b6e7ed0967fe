"""Why a request gets no answer: one sentence, and the status of each protocol."""

from __future__ import annotations

import math
from enum import Enum

MOST_LETTERS = 500  # of a sentence; gRPC drops an answer whose details have more than 8 KB


class RefusalKind(Enum):
    """HTTP status, name of the gRPC status, type of an OpenAI error."""

    BAD = (400, "INVALID_ARGUMENT", "invalid_request_error")
    NO_TOKEN = (401, "UNAUTHENTICATED", "invalid_request_error")
    FORBIDDEN = (403, "PERMISSION_DENIED", "invalid_request_error")
    NOT_FOUND = (404, "NOT_FOUND", "invalid_request_error")
    SLOW = (408, "DEADLINE_EXCEEDED", "invalid_request_error")
    CONFLICT = (409, "FAILED_PRECONDITION", "invalid_request_error")
    LARGE = (413, "RESOURCE_EXHAUSTED", "invalid_request_error")
    LONG_HEAD = (431, "RESOURCE_EXHAUSTED", "invalid_request_error")
    BUSY = (429, "RESOURCE_EXHAUSTED", "rate_limit_error")
    GONE = (499, "CANCELLED", "invalid_request_error")
    FAILED = (500, "INTERNAL", "server_error")
    NOT_BUILT = (501, "UNIMPLEMENTED", "invalid_request_error")
    NOT_READY = (503, "UNAVAILABLE", "server_error")
    LATE = (504, "DEADLINE_EXCEEDED", "server_error")

    @property
    def http(self) -> int:
        return self.value[0]

    @property
    def grpc(self) -> str:
        return self.value[1]

    @property
    def openai(self) -> str:
        return self.value[2]


class ServingRefusal(Exception):
    """`retry_after_s`: when the same request may be tried again; None where that does not help."""

    def __init__(self, kind: RefusalKind, sentence: str, retry_after_s: float | None = None) -> None:
        super().__init__(one_line(sentence))
        self.kind, self.retry_after_s = kind, retry_after_s

    @property
    def retry_after(self) -> dict[str, str]:
        """Headers: whole seconds, as HTTP has them, and milliseconds, which the openai package reads."""
        if self.retry_after_s is None:
            return {}
        return {
            "retry-after": str(max(1, math.ceil(self.retry_after_s))),
            "retry-after-ms": str(max(1, math.ceil(self.retry_after_s * 1e3))),
        }


def one_line(text: str) -> str:
    """What a user wrote may be in it: without control characters and halves of characters, and no longer than gRPC's details may be."""
    short = text if len(text) <= MOST_LETTERS else f"{text[:MOST_LETTERS]}..."
    return " ".join("".join(letter if letter.isprintable() else " " for letter in short).split())


def bad(sentence: str) -> ServingRefusal:
    return ServingRefusal(RefusalKind.BAD, sentence)


def stopping() -> ServingRefusal:
    return ServingRefusal(RefusalKind.NOT_READY, "the server is stopping; ask another one", 1.0)


def not_found(sentence: str) -> ServingRefusal:
    return ServingRefusal(RefusalKind.NOT_FOUND, sentence)
