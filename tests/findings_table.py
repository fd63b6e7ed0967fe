"""The table of rules in docs/findings.md, from the rules: `python -m tests.findings_table` writes it anew."""

from __future__ import annotations

from pathlib import Path

from analysis.findings.rule import AnyRule
from analysis.findings.rules import RULES

DOC = Path(__file__).parents[1] / "docs" / "findings.md"
HEAD = "| rule | title | weight | needs | holds when | source of its threshold |\n|---|---|---|---|---|---|\n"


def table() -> str:
    return HEAD + "".join(map(_row, RULES))


def _row(rule: AnyRule) -> str:
    return f"| `{rule.name}` | {rule.title} | {rule.weight} | {rule.needs_s:g} s: {rule.needs} | {rule.holds} | {rule.source} |\n"


def parts(text: str) -> tuple[str, str, str]:
    """Before the table, the table, after it."""
    lines = text.splitlines(keepends=True)
    first = lines.index(HEAD.splitlines(keepends=True)[0])
    last = next((i for i in range(first, len(lines)) if not lines[i].startswith("|")), len(lines))
    return "".join(lines[:first]), "".join(lines[first:last]), "".join(lines[last:])


if __name__ == "__main__":
    before, _, after = parts(DOC.read_text())
    DOC.write_text(before + table() + after)
