"""The rules and receivers of alerts, in `<data>/alerts.yaml`, which users edit beside us."""

from __future__ import annotations

import glob
import json
import re
from pathlib import Path

from access.files import write_bytes
from alerts.config import MAX_RULES_BYTES, RULES_FILE, settings_of
from deepseek.log.redaction import LEFT_OUT

RULES = re.compile(r"(?m)^rules:[ \t]*(?:\[\][ \t]*)?(?:#.*)?$")
ITEM = re.compile(r"[ \t]*(?=- )")


def opted_in(text: str, rule: str, run: str | None) -> str:
    """The text with a rule more: what that finding rule finds, in this run or in all, is sent as an alert. All else stays as it is."""
    runs = f", runs: {json.dumps(glob.escape(run), ensure_ascii=False)}" if run is not None else ""
    added = f"- {{finding: [{rule}]{runs}}}\n"
    found = RULES.search(text)
    if found is None:
        return f"{text.rstrip()}\n\nrules:\n{added}".lstrip()
    before, after = text[: found.end()].replace("[]", ""), text[found.end() :].removeprefix("\n")
    indent = ITEM.match(after)
    return f"{before}\n{indent[0] if indent else ''}{added}{after}"


def save_alerts(data_dir: Path, text: str) -> None:
    """As it is, comments and all. Raises ValueError: what is wrong first, with its line; Unwritable."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ValueError("line 1: no half characters (lone surrogates)") from None
    if len(data) > MAX_RULES_BYTES:
        raise ValueError(f"line 1: alerts.yaml has at most {MAX_RULES_BYTES >> 10} KiB")
    if LEFT_OUT in text:
        line = text[: text.index(LEFT_OUT)].count("\n") + 1
        raise ValueError(f"line {line}: a secret was left out here; write env:NAME or file:/path in its place")
    troubles = settings_of(text).troubles
    if troubles:
        raise ValueError(str(troubles[0]))
    write_bytes(data_dir / RULES_FILE, data)
