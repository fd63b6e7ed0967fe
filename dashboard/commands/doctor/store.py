"""The store of the data folder: its files, versions and sizes, and whether a quick look finds damage."""

from __future__ import annotations

import time

from .place import CheckedHost, Fact, Symptom, is_folder, nearest

LOOK_S = 0.4
CHECK = "deepseek-dashboard store check"


def check(place: CheckedHost) -> Symptom:
    from collectors.store.open import maintenance

    if not is_folder(place.data_dir):
        return Symptom("ok", f"there is no store yet; it will be below {nearest(place.data_dir)}.")
    files = maintenance(place.data_dir).glance(time.monotonic() + LOOK_S)
    facts: dict[str, Fact] = {}
    for file in files:
        facts[f"{file.name} bytes"], facts[f"{file.name} schema"] = file.size_bytes, file.schema
    if not files:
        return Symptom("ok", "the store is empty.", "", facts)
    said = f"{len(files)} files, {sum(file.size_bytes for file in files) / 1e6:.1f} MB"
    if troubles := [f"{file.name}: {file.trouble}" for file in files if file.trouble]:
        remedy = f"Type: {CHECK} --data-dir {place.data_dir}; move the file away, and the log folder is read again"
        return Symptom("wrong", f"{troubles[0]} ({len(troubles)} of {said}).", remedy, facts)
    if not all(file.whole for file in files):
        return Symptom(
            "ok", f"{said}; no damage in what could be looked at in {LOOK_S:g} s (all of it: {CHECK}).", "", facts
        )
    return Symptom("ok", f"{said}, undamaged tables.", "", facts)
