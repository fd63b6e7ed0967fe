"""Log templates: a line with its variable parts masked (numbers, times, paths, texts, hex), and the fields they hold."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_CHARACTERS = 1000  # of a line: what follows is no part of its template
CUT = " ..."
NUMBER, TIME, PATH, TEXT, HEX, ID = "#", "<time>", "<path>", "<text>", "<hex>", "<id>"
PLACEHOLDERS = (NUMBER, TIME, PATH, TEXT, HEX, ID)

MIN_HEX = 7  # characters, as of a short commit
DIGIT, HEX_LETTER, LETTER = 1, 2, 4
_PAD = b"\n\n\n\n"  # around all lines: a neighbour may be looked at without asking for the edge
_HEX_BYTE, _ID_BYTE, _DROPPED = b"\3", b"\4", b"\5"
_CLEAN = bytes(ord("?") if byte in range(1, 6) else byte for byte in range(256))
_ZEROS = bytes(ord("0") if byte in b"0123456789" else byte for byte in range(256))
_KINDS = bytes(
    DIGIT
    if byte in b"0123456789"
    else HEX_LETTER
    if byte in b"abcdefABCDEF"
    else LETTER
    if byte > 127 or chr(byte).isalpha()
    else 0
    for byte in range(256)
)
_ID = re.compile(rb"(?<![0-9A-Za-z])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![0-9A-Za-z])")
_ID_INSIDE = re.compile(rb"-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")

# Of keys. A pattern that begins with a fixed character is found fast: conditions on what stands before it follow as a look-behind.
_CLOCK = rb"0:0:0(?:[.,]0)?"
_TIME = re.compile(
    rb"0(?<![0-9A-Za-z.]0)(?:-0-0(?:[T ]"
    + _CLOCK
    + rb")?|/0/0[T ]"
    + _CLOCK
    + rb"|:0:0(?:[.,]0)?)(?:Z|[+-]0:?0?)?(?![0-9A-Za-z:])"
)
_WORD = rb"[\w.@%+~\3\4-]+"
_URL = re.compile(rb"://[^\s\"'<>,;)\1\2]+")
_FILE = re.compile(rb"/(?<![0-9<]/)" + _WORD + rb"(?:/" + _WORD + rb")+/?")
_DOUBLE_QUOTED = re.compile(
    rb'"(?<=[^:,\s][ \t]")[^"\n]{0,200}"(?!:)'
)  # behind a word; what follows a colon or a comma is a field's value
_SINGLE_QUOTED = re.compile(rb"'(?<=[^:,\s][ \t]')[^'\n]{0,200}'(?!:)")
_NUMBER = re.compile(rb"0(?:\.0)?(?:[eE][+-]?0(?![A-Za-z]))?")
_BAR = re.compile(
    rb"(?<=%\|)(?:\xe2\x96[\x80-\x8f]|[ #0])+(?=\|)"
)  # what fills a progress bar: blocks, or # and a digit
_PASSES = (
    (_TIME, TIME, b"0:0:0"),
    (_TIME, TIME, b"0-0-0"),
    (_BAR, TEXT, b"%|"),
    (_URL, PATH, b"://"),
    (_FILE, PATH, b"/"),
    (_DOUBLE_QUOTED, TEXT, b'"'),
    (_SINGLE_QUOTED, TEXT, b"'"),
    (re.compile(re.escape(_HEX_BYTE)), HEX, _HEX_BYTE),
    (re.compile(re.escape(_ID_BYTE)), ID, _ID_BYTE),
    (_NUMBER, NUMBER, b"0"),
)
_SIGNED = (b" -#", b"=-#", b":-#", b"(-#", b"[-#", b",-#", b" +#")
_OTHER_FIRST, _OTHER, _NUMBER_FIRST = b"\1", b"\1", b"\2"
_KEPT_NUMBER = re.compile(b"\2\1*|#")


class NumberSpan(NamedTuple):
    """Where a number stands in the UTF-8 of its line; empty for a number sign of the line itself."""

    start: int
    end: int


def keys_of(texts: Sequence[str]) -> list[bytes]:
    """What patterns make the lines' masks of. About 1 us a line, and 0.1 ms a call."""
    data = _joined(texts)
    return _shortened(data).tobytes().translate(None, _DROPPED)[len(_PAD) : -len(_PAD)].split(b"\n") if texts else []


def masks_of(keys: Sequence[bytes]) -> list[str]:
    """`[b"step 0 of 0: loss 0.0"] -> ["step # of #: loss #"]`. About 4 us a line."""
    text = _replaced(b"\n".join(keys), {placeholder: placeholder.encode() for placeholder in PLACEHOLDERS})
    for signed in _SIGNED:
        text = text.replace(signed, signed[:1] + NUMBER.encode())
    return text.decode("utf-8", "replace").split("\n") if keys else []


def masked(text: str) -> str:
    """The mask of one line."""
    return masks_of(keys_of([text]))[0]


def number_spans(texts: Sequence[str]) -> list[list[NumberSpan]]:
    """Of each line one for each `#` of its mask, with the sign. About 20 us a line."""
    shortened = _shortened(_joined(texts))
    key = shortened.tobytes().translate(None, _DROPPED)
    places = np.flatnonzero(shortened != _DROPPED[0])  # of the bytes of the key
    starts = [len(_PAD), *(np.flatnonzero(shortened[len(_PAD) : -len(_PAD)] == ord("\n")) + len(_PAD) + 1).tolist()]
    spans: list[list[NumberSpan]] = [[] for _ in texts]
    line = 0
    masks = _replaced(key, {placeholder: _in_place(placeholder) for placeholder in PLACEHOLDERS})
    for found in _KEPT_NUMBER.finditer(masks):
        first, behind = found.span()
        if found[0] == b"#":
            behind = first
        elif masks[first - 2 : first] + b"#" in _SIGNED:
            first -= 1
        start, end = int(places[first]), int(places[behind])
        while line + 1 < len(starts) and starts[line + 1] <= start:
            line += 1
        spans[line].append(NumberSpan(start - starts[line], end - starts[line]))
    return spans


def _joined(texts: Sequence[str]) -> bytes:
    if max(map(len, texts), default=0) > MAX_CHARACTERS:
        texts = [text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + CUT for text in texts]
    data = _utf8("\n".join(texts))
    if data.count(b"\n") != len(texts) - 1:
        data = _utf8("\n".join(text.replace("\n", " ") for text in texts))
    data = data.translate(_CLEAN)
    if _ID_INSIDE.search(data):
        data = _ID.sub(lambda found: _ID_BYTE * len(found[0]), data)
    return _PAD + data + _PAD


def _shortened(data: bytes) -> NDArray[np.uint8]:
    """As long as the data: of each number and of each hexadecimal word the first byte is kept, the others are _DROPPED."""
    kinds = np.frombuffer(data.translate(_KINDS), np.uint8)
    found = np.frombuffer(data.translate(_ZEROS), np.uint8)
    digit = kinds == DIGIT
    starts, ends = _hexadecimal(found, kinds)
    dropped = np.zeros(len(kinds), np.bool_)
    if len(starts):
        found = found.copy()
        found[starts] = _HEX_BYTE[0]
        rest = ends - starts - 1
        behind = np.repeat(ends - np.cumsum(rest), rest) + np.arange(
            int(rest.sum())
        )  # all bytes of these words but the first
        dropped[behind] = True
        digit[starts] = digit[behind] = False
    if b"," in data:
        commas = np.flatnonzero(found == ord(","))
        commas = commas[digit[commas - 1] & digit[commas + 1]]
        commas = commas[digit[commas + 2] & digit[commas + 3] & ~digit[commas + 4]]
        digit[commas] = True  # 1,234 is one number
    dropped[1:] |= digit[1:] & digit[:-1]
    if _ID_BYTE in data:
        identity = found == _ID_BYTE[0]
        dropped[1:] |= identity[1:] & identity[:-1]
    shortened = found.copy()
    np.putmask(shortened, dropped, _DROPPED[0])
    return shortened


def _hexadecimal(zeros: NDArray[np.uint8], kinds: NDArray[np.uint8]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where words of hexadecimal digits start and end: `0x1f`, and from MIN_HEX on those with both digits and letters."""
    word = kinds != 0
    edges = np.flatnonzero(word[1:] != word[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    long = np.flatnonzero(ends - starts >= MIN_HEX)
    found, behind = starts[long], ends[long]
    likely = (kinds[found] < LETTER) & (kinds[behind - 1] < LETTER)
    found, behind = found[likely], behind[likely]
    if len(found):
        has = np.bitwise_or.reduceat(kinds, np.column_stack([found, behind]).ravel())[::2]
        exponent = ((zeros[behind - 1] | 32) == ord("e")) & ((zeros[behind] == ord("-")) | (zeros[behind] == ord("+")))
        plain = (has == DIGIT | HEX_LETTER) & (zeros[found - 1] != ord(".")) & ~exponent
        found, behind = found[plain], behind[plain]
    x = np.flatnonzero(zeros == ord("x"))
    x = x[(zeros[x - 1] == ord("0")) & (kinds[x - 2] == 0)]
    if not len(x):
        return found, behind
    x_ends = ends[np.searchsorted(ends, x, "right")]
    some = x_ends > x + 1
    x, x_ends = x[some], x_ends[some]
    has = np.bitwise_or.reduceat(kinds, np.column_stack([x + 1, x_ends]).ravel())[::2] if len(x) else x
    address = has < LETTER
    starts, ends = np.append(found, x[address] - 1), np.append(behind, x_ends[address])
    order = np.argsort(starts)
    return starts[order], ends[order]


def _replaced(text: bytes, by: Mapping[str, bytes | Callable[[re.Match[bytes]], bytes]]) -> bytes:
    for pattern, placeholder, hint in _PASSES:
        if hint in text:
            text = pattern.sub(by[placeholder], text)
    return text


def _in_place(placeholder: str) -> Callable[[re.Match[bytes]], bytes]:
    """As many bytes as are replaced."""
    first = _NUMBER_FIRST if placeholder == NUMBER else _OTHER_FIRST
    return lambda found: first + _OTHER * (len(found[0]) - 1)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# The lines of a run grouped by their constant words: a template is the mask of its lines, with an id that stays.
#
#     step 7 loss 0.25     -> step # loss #
#     step 8 loss 0.24     -> step # loss #
#
# A log may have no end of masks. A file may make MAX_OF_FILE templates of its own, MAX_OF_FAMILY of them of lines that begin with the
# same words. What comes beyond them goes to a wide template, by its first words and its length, which depends on the line alone.

MAX_OF_FILE = 4096
MAX_OF_FAMILY = 1024
MAX_WIDE = 1024  # of a run; lines of yet other words are grouped by their length alone
MAX_OF_RUN = 32_768  # ids fit into two bytes, with room for what is wide
FAMILY_WORDS = 2
MAX_WORD_CHARACTERS = 32
_FAMILY_WORD = re.compile(r"(?<![\w<./-])[^\W\d_]{2,}(?![\w>./-])")
_LEVELS = {"debug", "info", "warn", "warning", "error", "critical", "fatal", "utc"}


class NewTemplate(NamedTuple):
    """A template as its first line makes it."""

    id: int
    text: str
    file: str  # whose line it was
    family: str  # lines of a family begin with the same words and are about as long
    wide: bool  # whether its lines share their family only


class RunTemplates:
    """The templates of one run. Give it all that are stored, and it goes on where it ended."""

    def __init__(self, known: Iterable[NewTemplate] = ()) -> None:
        self._ids: dict[str, int] = {}
        self._wide: dict[str, int] = {}
        self._of_file: Counter[str] = Counter()
        self._of_family: Counter[tuple[str, str]] = Counter()
        self._keys: dict[bytes, int] = {}
        self.bytes = 0  # of what it remembers, about
        self._next = 1
        for template in known:
            self._note(template)

    def group(self, texts: Sequence[str], files: Sequence[str]) -> tuple[list[int], list[NewTemplate]]:
        """The id of each line's template, and the templates that did not exist before."""
        keys = keys_of(texts)
        known = self._keys
        new: list[NewTemplate] = []
        ids = [known.get(key, 0) for key in keys]
        missing = [at for at, number in enumerate(ids) if not number]
        if missing:
            for at, text in zip(missing, masks_of([keys[at] for at in missing]), strict=True):
                number = ids[at] = self._id_of(text, files[at], new)
                if keys[at] not in known:
                    known[keys[at]] = number
                    self.bytes += len(keys[at]) + 100
        return ids, new

    def forget_keys(self) -> None:
        """Remember templates only: lines are masked anew."""
        self.bytes -= sum(len(key) + 100 for key in self._keys)
        self._keys.clear()

    def _id_of(self, text: str, file: str, new: list[NewTemplate]) -> int:
        number = self._ids.get(text)
        if number is not None:
            return number
        family = family_of(text)
        full = (
            self._of_file[file] >= MAX_OF_FILE
            or self._of_family[file, family] >= MAX_OF_FAMILY
            or self._next > MAX_OF_RUN
        )
        if full:
            number = self._wide.get(family)
            if number is None and len(self._wide) >= MAX_WIDE:
                family = length_of(text)
                number = self._wide.get(family)
            if number is not None:
                return number
        template = NewTemplate(self._next, wide_text(family) if full else text, file, family, full)
        self._note(template)
        new.append(template)
        return template.id

    def _note(self, template: NewTemplate) -> None:
        if template.wide:
            self._wide[template.family] = template.id
        else:
            self._ids[template.text] = template.id
            self._of_file[template.file] += 1
            self._of_family[template.file, template.family] += 1
        self.bytes += len(template.text) + 200
        self._next = max(self._next, template.id + 1)


def family_of(mask: str) -> str:
    """`"<time> INFO retrying shard # of #" -> "retrying shard, 5 to 8 words"`"""
    words = (word for word in _FAMILY_WORD.findall(mask) if word.lower() not in _LEVELS)
    first = [word[:MAX_WORD_CHARACTERS] for _, word in zip(range(FAMILY_WORDS), words, strict=False)]
    return ", ".join(filter(None, [" ".join(first), length_of(mask)]))


def length_of(mask: str) -> str:
    """`"a b c d e f" -> "5 to 8 words"`"""
    most = 1 << max(0, len(mask.split()) - 1).bit_length()
    return f"{most // 2 + 1} to {most} words" if most > 2 else f"{most} word{'s'[: most > 1]}"


def wide_text(family: str) -> str:
    """`"retrying shard, 5 to 8 words" -> "other lines (retrying shard, 5 to 8 words)"`"""
    return f"other lines ({family})"


# The numbers of lines by their place in the template: field 1 of `step # loss #` is 0.25 in `step 7 loss 0.25`.

AT_ONCE = 1000  # lines


def field_count(template: str) -> int:
    """How many numbers its lines have; a number sign that stands in the lines themselves counts as well, and has no value."""
    return template.count(NUMBER)


def field_values(texts: Sequence[str], field: int) -> NDArray[np.float64]:
    """Of a field, counted from 0; NaN where a line has none, infinite beyond a double. About 20 us a line."""
    found: list[float] = []
    for at in range(0, len(texts), AT_ONCE):
        some = [text[:MAX_CHARACTERS].replace("\n", " ") for text in texts[at : at + AT_ONCE]]
        found += [_value(text, spans, field) for text, spans in zip(some, number_spans(some), strict=True)]
    return np.array(found, np.float64)


def _value(text: str, spans: Sequence[NumberSpan], field: int) -> float:
    if field >= len(spans):
        return math.nan
    start, end = spans[field]
    try:
        return float(text.encode("utf-8", "surrogatepass")[start:end].replace(b",", b""))
    except ValueError:
        return math.nan
