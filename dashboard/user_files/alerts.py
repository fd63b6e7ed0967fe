"""The rules and receivers of alerts, in `<data>/alerts.yaml`, which users edit beside us."""

from __future__ import annotations

from pathlib import Path

from collectors.alerts.file import FILE
from collectors.alerts.reading import MOST_BYTES, settings_of
from collectors.redaction import LEFT_OUT

from .yaml_file import write_bytes


def save_alerts(data_dir: Path, text: str) -> None:
    """As it is, comments and all. Raises ValueError: what is wrong first, with its line; Unwritable."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise ValueError("line 1: no half characters (lone surrogates)") from None
    if len(data) > MOST_BYTES:
        raise ValueError(f"line 1: alerts.yaml has at most {MOST_BYTES >> 10} KiB")
    if LEFT_OUT in text:
        line = text[: text.index(LEFT_OUT)].count("\n") + 1
        raise ValueError(f"line {line}: a secret was left out here; write env:NAME or file:/path in its place")
    troubles = settings_of(text).troubles
    if troubles:
        raise ValueError(str(troubles[0]))
    write_bytes(data_dir / FILE, data)
