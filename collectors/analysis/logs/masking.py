"""What varies in a line becomes a placeholder: numbers `#`, and `<time>`, `<path>`, `<text>`, `<hex>`, `<id>`.

Many lines are masked at once, joined by line ends: a call a line costs several times as much. Digits become zeros first, so that lines
which differ in their digits only have one key, and a key's mask is kept by those who ask again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

MOST_CHARACTERS = 1000  # of a line: what follows is no part of its template
CUT = " ..."
NUMBER, TIME, PATH, TEXT, HEX, ID = "#", "<time>", "<path>", "<text>", "<hex>", "<id>"
PLACEHOLDERS = (NUMBER, TIME, PATH, TEXT, HEX, ID)

_ZEROS = bytes(ord("?") if byte in b"\1\2" else ord("0") if chr(byte).isdigit() else byte for byte in range(128)) + bytes(range(128, 256))
_WORD = rb"[\w.@%+~-]+"
# A pattern that begins with a fixed character is found fast: conditions on what stands before it follow as a look-behind.
_ID = re.compile(rb"(?<![0-9A-Za-z])[0a-fA-F]{8}(?:-[0a-fA-F]{4}){3}-[0a-fA-F]{12}(?![0-9A-Za-z])")
_ID_INSIDE = re.compile(rb"-[0a-fA-F]{4}-[0a-fA-F]{4}-[0a-fA-F]{4}-[0a-fA-F]{12}")
_TIME = re.compile(
    rb"0(?<![0-9A-Za-z.]0)(?:000[-/]00[-/]00(?:[T ]00:00:00(?:[.,]0+)?)?|0?:00(?::00)?(?:[.,]0+)?)(?:Z|[+-]00:?00)?(?![0-9A-Za-z:])"
)
_URL = re.compile(rb"://[^\s\"'<>,;)\1\2]+")
_PATH = re.compile(rb"/(?<![0-9<]/)" + _WORD + rb"(?:/" + _WORD + rb")+/?")
_DOUBLE_QUOTED = re.compile(rb'"(?<=[^:,\s]\s")[^"\n]{0,200}"(?!:)')  # behind a word; what follows a colon or a comma is a field's value
_SINGLE_QUOTED = re.compile(rb"'(?<=[^:,\s]\s')[^'\n]{0,200}'(?!:)")
_ADDRESS = re.compile(rb"0x[0a-fA-F]+")
_HEX = re.compile(rb"[0a-fA-F](?<![0-9A-Za-z.].)(?:(?<=0)(?=0*[a-fA-F])|(?<!0)(?=[a-fA-F]*0))[0a-fA-F]{6,}(?![0-9A-Za-z])")
_NUMBER = re.compile(rb"00*(?:,000)*(?:\.0+)?(?:[eE][+-]?0+(?![0-9A-Za-z]))?")
_PASSES = (
    (_TIME, TIME, b":"),
    (_TIME, TIME, b"-00-00"),
    (_TIME, TIME, b"/00/00"),
    (_URL, PATH, b"://"),
    (_PATH, PATH, b"/"),
    (_DOUBLE_QUOTED, TEXT, b'"'),
    (_SINGLE_QUOTED, TEXT, b"'"),
    (_ADDRESS, HEX, b"0x"),
    (_HEX, HEX, b""),
    (_NUMBER, NUMBER, b"0"),
)
_SIGNED = (b" -#", b"=-#", b":-#", b"(-#", b"[-#", b",-#", b" +#")


def keys_of(texts: Sequence[str]) -> list[bytes]:
    """The lines with zeros for digits, as UTF-8: lines with equal keys have equal masks. About 0.3 us a line."""
    if max(map(len, texts), default=0) > MOST_CHARACTERS:
        texts = [text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + CUT for text in texts]
    keys = _utf8("\n".join(texts)).translate(_ZEROS).split(b"\n")
    if len(keys) == len(texts):
        return keys
    return [_utf8(text.replace("\n", " ")).translate(_ZEROS) for text in texts]


def masks_of(keys: Sequence[bytes]) -> list[str]:
    """`[b"step 00 of 000: loss 0.00"] -> ["step # of #: loss #"]`. About 5 us a line."""
    text = _replaced(b"\n".join(keys), {placeholder: placeholder.encode() for placeholder in PLACEHOLDERS})
    for signed in _SIGNED:
        text = text.replace(signed, signed[:1] + NUMBER.encode())
    return text.decode("utf-8", "replace").split("\n") if keys else []


def masked(text: str) -> str:
    """The mask of one line."""
    return masks_of(keys_of([text]))[0]


def number_spans(key: bytes) -> list[tuple[int, int]]:
    """Where each `#` of the line's mask stands in its UTF-8, with its sign: an empty span for a number sign of the line itself."""
    kept = _replaced(key, {placeholder: _in_place(placeholder) for placeholder in PLACEHOLDERS})
    spans = []
    for found in _KEPT_NUMBER.finditer(kept):
        start, end = found.span()
        if found[0] == b"#":
            spans.append((start, start))
        else:
            spans.append((start - (kept[max(0, start - 2) : start] + b"#" in _SIGNED), end))
    return spans


_KEPT, _KEPT_FIRST = b"\1", b"\2"
_KEPT_NUMBER = re.compile(b"\2\1*|#")


def _in_place(placeholder: str) -> Callable[[re.Match[bytes]], bytes]:
    """As many bytes as are replaced."""
    first = _KEPT_FIRST if placeholder == NUMBER else _KEPT
    return lambda found: first + _KEPT * (len(found[0]) - 1)


def _replaced(text: bytes, by: Mapping[str, bytes | Callable[[re.Match[bytes]], bytes]]) -> bytes:
    if _ID_INSIDE.search(text):
        text = _ID.sub(by[ID], text)
    for pattern, placeholder, hint in _PASSES:
        if hint in text:
            text = pattern.sub(by[placeholder], text)
    return text


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
