"""YAML files that users edit beside the dashboard, with invisible characters made visible."""

from __future__ import annotations

import errno
import re
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from access.files import bytes_of, write_bytes

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u206f\u2800\u3164\ufeff\uffa0\U000e0000-\U000e0fff]"
)
HIDDEN = {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Mc", "Me"}  # what no font knows is drawn as a box
OUTER = re.compile(r"^[\s\ufeff]++|(?<![\s\ufeff])[\s\ufeff]++$|[\t\n]++")  # what JavaScript takes for a blank as well


def visible(text: str) -> str:
    """`"a\\u202etxt.exe" -> "a[U+202E]txt.exe"`"""
    return UNSEEN.sub(_spelled, text)


def visible_name(name: str) -> str:
    """With its tabs, line breaks and the blanks at its ends, too, which make it look like another one: `"loss " -> "loss[U+0020]"`."""
    return visible(OUTER.sub(_spelled, name))


def is_seen(name: str) -> bool:
    """Whether there is anything to see in it: more than controls, blanks and marks of other characters."""
    return any(unicodedata.category(letter) not in HIDDEN for letter in UNSEEN.sub("", name))


def _spelled(found: re.Match[str]) -> str:
    return "".join(f"[U+{ord(letter):04X}]" for letter in found[0])


# A small YAML file that users edit beside us: read with care, written whole.
#
# All values are text, so that `name: no` is the word and not a falsehood: who asks knows the type of each key.

Table: TypeAlias = dict[str, str | list[str]]

SUFFIX = ".yaml"
PARSER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml, where PyYAML was built with it
ODD_BREAK = re.compile(r"[\x85\u2028\u2029]")  # line breaks of Unicode: as they are, they would come back as spaces
FRAME = (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentStartEvent, yaml.DocumentEndEvent)


class MalformedFile(Exception):
    """Not what we would write; the text is one sentence with the file and the remedy."""


def read(path: Path) -> Table:
    """`"name: no\\ntags: [a, b]" -> {"name": "no", "tags": ["a", "b"]}`; {} where there is no file. Raises MalformedFile.

    About 0.1 ms; never waits, whatever lies there.
    """
    try:
        return parsed(bytes_of(path).decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        why = "is not UTF-8"
    except yaml.YAMLError as error:
        why = f"is not YAML ({_problem(error)})"
    except OSError as error:
        why = "is a link" if error.errno == errno.ELOOP else f"cannot be read ({error.strerror})"
    except ValueError as error:
        why = str(error)
    raise malformed(path, why)


def malformed(path: Path, why: str) -> MalformedFile:
    """`why` is what the file does or is: "is not UTF-8"."""
    return MalformedFile(f"{path} {why}; correct or delete it")


def write(path: Path, table: Mapping[str, object], comment: str) -> None:
    """Whole: a reader, or a crash, finds the old file or the new one. Makes the folder. Raises Unwritable."""
    write_bytes(path, f"# {comment}\n{written(table)}".encode())


def written(table: Mapping[str, object]) -> str:
    """YAML text; `parsed` finds the same words again."""
    return yaml.dump(dict(table), Dumper=_Dumper, allow_unicode=True, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Text of several lines stands there line by line."""


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = '"' if ODD_BREAK.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


def parsed(text: str) -> Table:
    """Raises ValueError with what is wrong, or yaml.YAMLError. Neither anchors nor tags mean anything: nothing grows, nothing is made."""
    events = (event for event in yaml.parse(text, Loader=PARSER) if not isinstance(event, FRAME))
    first = next(events, None)
    if first is None:
        return {}
    if not isinstance(first, yaml.MappingStartEvent):
        raise ValueError("is no table of lines such as `name: value`")
    table: Table = {}
    for event in events:
        if isinstance(event, yaml.MappingEndEvent):
            break
        key = _text(event)
        if key in table:
            raise ValueError(f"has {key!r} twice")
        table[key] = _value(next(events), events)
    if next(events, None) is not None:
        raise ValueError("has more than one document")
    return table


def _value(event: yaml.Event, events: Iterator[yaml.Event]) -> str | list[str]:
    if not isinstance(event, yaml.SequenceStartEvent):
        return _text(event)
    return [_text(item) for item in takewhile(lambda item: not isinstance(item, yaml.SequenceEndEvent), events)]


def _text(event: yaml.Event) -> str:
    if not isinstance(event, yaml.ScalarEvent):
        raise ValueError("has something other than text, numbers and lists of them")
    return str(event.value)


def _problem(error: Any) -> str:
    """`line 3: mapping values are not allowed here`"""
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
    return f"line {mark.line + 1}: {what}" if mark else str(what)
