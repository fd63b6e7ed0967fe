"""Every regular expression of the product takes time in proportion to the text: logs, names, configurations and stacks are strangers'.

Python's `re` holds the GIL while it searches. A pattern that begins anew at each letter, and each time runs to the end, takes a second of
everybody's time for a line of 16 kB. Each pattern meets 16 kB of each pair of its own tokens.
"""

from __future__ import annotations

import ast
import importlib
import itertools
import re
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest

from tests.support.product import modules

try:
    from re import _constants as constants  # type: ignore[attr-defined]
    from re import _parser as parser  # type: ignore[attr-defined]
except ImportError:
    import sre_constants as constants
    import sre_parse as parser

NOT_IMPORTED = (
    "models",
    "trainer.train",
    "trainer.tasks",
    "trainer.models",
    "trainer.data",
    "deepseek.log.adapters",
)  # they need torch and others
ANCHORED = {"match", "fullmatch"}
CALLS = ("compile", "search", "match", "fullmatch", "findall", "finditer", "sub", "split")
FEW, SHORT, LONG = 2048, 4096, 16384  # characters: of a line of a log 16 kB are kept
GLANCE_S = 0.0015  # for FEW: what takes less cannot take 0.1 s for LONG, were it quadratic
MAX_S = 0.1  # for LONG; a quadratic search takes a second
STEEP = 7  # how much longer LONG may take than SHORT: 4 is linear, 16 quadratic
MAX_TOKENS = 10
OTHERS = ("a", " ", "-", "'")


class Used(NamedTuple):
    pattern: re.Pattern[Any]
    searches: bool  # else it is only tried at the beginning of a text


def patterns_in(value: Any, depth: int = 3) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, dict):
        yield from (found for item in value.values() for found in patterns_in(item, depth - 1))
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        yield from (found for item in value for found in patterns_in(item, depth - 1))


def called(node: ast.AST) -> tuple[str, str] | None:
    """`RULE.match -> ("RULE", "match")`, also behind a module's name."""
    if not isinstance(node, ast.Attribute) or node.attr not in CALLS:
        return None
    of = node.value
    return (
        (of.id, node.attr)
        if isinstance(of, ast.Name)
        else (of.attr, node.attr)
        if isinstance(of, ast.Attribute)
        else None
    )


def written_out(tree: ast.Module, compiled: bool) -> Iterator[Used]:
    """Those of calls, as far as they are literals. `compiled`: what is named is known otherwise."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := called(node.func)) and name[0] == "re" and node.args:
            if compiled and name[1] == "compile":
                continue
            given = node.args[0]
            if isinstance(given, ast.Constant) and isinstance(given.value, (str, bytes)):
                flags = sum(
                    getattr(re, each.attr)
                    for each in ast.walk(node)
                    if isinstance(each, ast.Attribute) and each.attr.isupper()
                )
                yield Used(re.compile(given.value, flags), name[1] not in ANCHORED)


def with_patterns() -> list[str]:
    """The modules that import `re`."""
    return [name for name, path in modules().items() if "import re\n" in path.read_text()]


@cache
def every_pattern() -> dict[str, dict[str, Used]]:
    """By module and name. A pattern of several modules is the first one's."""
    trees = {name: ast.parse(path.read_text()) for name, path in modules().items()}
    uses: dict[tuple[str, str], set[str]] = {}  # by where it is defined; "" of what is imported
    for module, tree in trees.items():
        own_names = {
            target.id
            for node in tree.body
            for target in ast.walk(node)
            if isinstance(target, ast.Name) and isinstance(target.ctx, ast.Store)
        }
        for name in filter(None, map(called, ast.walk(tree))):
            uses.setdefault((module if name[0] in own_names else "", name[0]), set()).add(name[1])
    found: dict[tuple[Any, int], tuple[str, Used]] = {}
    for name in with_patterns():
        is_imported = not name.startswith(NOT_IMPORTED)
        own = list(written_out(trees[name], is_imported))
        if is_imported:
            for constant, value in vars(importlib.import_module(name)).items():
                used = uses.get((name, constant), set()) | uses.get(("", constant), set())
                searches = not used or not used <= ANCHORED
                own += [Used(each, searches) for each in patterns_in(value)]
        for each in own:
            known = found.setdefault((each.pattern.pattern, each.pattern.flags), (name, each))
            if each.searches and not known[1].searches:
                found[each.pattern.pattern, each.pattern.flags] = (known[0], each)
    of: dict[str, dict[str, Used]] = {name: {} for name in with_patterns()}
    for name, each in found.values():
        of[name][f"{each.pattern.pattern!r} {each.pattern.flags}"] = each
    return of


def tokens_of(pattern: re.Pattern[Any]) -> list[str]:
    """Texts that the pattern looks for: its runs of letters, and a member of each of its sets."""
    found: dict[str, None] = {}

    def walk(parts: Any) -> None:
        run = ""
        for op, argument in parts:
            if op is constants.LITERAL:
                run += chr(argument)
                continue
            if run:
                found[run] = None
                run = ""
            if op is constants.IN:
                found[member(argument)] = None
            elif op in (constants.MAX_REPEAT, constants.MIN_REPEAT, getattr(constants, "POSSESSIVE_REPEAT", None)):
                walk(argument[2])
            elif op is constants.SUBPATTERN:
                walk(argument[3])
            elif op is constants.BRANCH:
                for branch in argument[1]:
                    walk(branch)
            elif op in (constants.ASSERT, constants.ASSERT_NOT):
                walk(argument[1])
            elif op is getattr(constants, "ATOMIC_GROUP", None):
                walk(argument)
        if run:
            found[run] = None

    walk(parser.parse(pattern.pattern, pattern.flags & ~re.TEMPLATE if hasattr(re, "TEMPLATE") else pattern.flags))
    listed = sorted(found, key=lambda token: (len(token) > 12, found.keys() and 0))
    chosen = listed if len(listed) <= MAX_TOKENS else listed[:: len(listed) // MAX_TOKENS + 1]
    return list(dict.fromkeys([*chosen, *OTHERS]))


def member(argument: Any) -> str:
    for op, value in argument:
        if op is constants.LITERAL:
            return chr(value)
        if op is constants.RANGE:
            return chr(value[0])
        if op is constants.CATEGORY:
            return {constants.CATEGORY_DIGIT: "5", constants.CATEGORY_SPACE: " ", constants.CATEGORY_WORD: "b"}.get(
                value, "!"
            )
    return "!"


def seconds(used: Used, text: Any, enough_s: float) -> float:
    """The thread's own; the least of three, since others use the machine."""
    least = 9.0
    for _ in range(3):
        begun_s = time.thread_time()
        used.pattern.match(text)
        used.pattern.fullmatch(text)
        if used.searches:
            for _ in used.pattern.finditer(text):
                pass
        least = min(least, time.thread_time() - begun_s)
        if not enough_s <= least <= 5 * MAX_S:  # nobody else's load makes the difference
            break
    return least


def text_of(pattern: re.Pattern[Any], begin: str, repeated: str, length: int) -> Any:
    text = (begin + repeated * (length // len(repeated)))[: length - 1] + "\x00"
    return text if isinstance(pattern.pattern, str) else text.encode("utf-8", "replace")


def test_patterns_are_found_wherever_they_are_written() -> None:
    patterns = every_pattern()
    for name in (
        "deepseek.log.redaction",
        "collectors.lines.structured_lines",
        "dashboard.visitors",
        "collectors.logs.formats.text",
    ):
        assert patterns[name]


@pytest.mark.long
@pytest.mark.parametrize("module", with_patterns())
def test_a_pattern_takes_time_in_proportion_to_the_text(module: str) -> None:
    slow = {name: text for name, used in every_pattern()[module].items() if (text := slow_text(used))}
    assert not slow, f"over 16 kB of {slow}"


def slow_text(used: Used) -> Any:
    """What the pattern takes more than its share of time for."""
    tokens = tokens_of(used.pattern)
    pairs = list(itertools.product(tokens, tokens))
    for begin, repeated in [("", one + other) for one, other in pairs] + [
        (one * 20, other) for one, other in pairs if one != other
    ]:
        if seconds(used, text_of(used.pattern, begin, repeated, FEW), GLANCE_S) > GLANCE_S:
            took_s = seconds(used, text_of(used.pattern, begin, repeated, LONG), MAX_S)
            if took_s > MAX_S and took_s > STEEP * seconds(used, text_of(used.pattern, begin, repeated, SHORT), 0.0):
                return begin[:20], repeated, round(took_s, 3)
    return None


def test_a_quadratic_pattern_is_found() -> None:
    assert slow_text(Used(re.compile(r"(?<!\w-)([A-Za-z_][\w.-]*)="), True))
    assert not slow_text(Used(re.compile(r"(?<!\w-)([A-Za-z_][\w.-]*)="), False))
