"""Lines of metrics.jsonl and of events.jsonl that no writer should write."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.poisons import Place, Poison, Scene, both, file_says, kept, lines, silent, there, written
from tests.poisons.kinds_of_files import GOOD

NUMBERS = ("1e30", "-1e30", "NaN", "Infinity", '"Infinity"', str(2**63), str(-(2**64)), str(2**127), "1" + "0" * 400, "1e308", '"x"', "[1]", "{}", "null", "true", "0.5")  # fmt: skip
TEXTS = ('"\\ud800"', '"a\\u0000b"', "[1, [2]]", '{"a": {"b": 1}}', "5", "null", '"' + "t" * 300_000 + '"', str(2**127))
SHAPES = 60_000
SAMPLE_FIELDS = ("name", "text", "path", "step", "time_s", "bytes", "written_s", "kind")
KINDS = ("start", "end", "checkpoint", "validation", "gc", "compile", "note", "restart", "", "\\ud800")


def events(*parts: str) -> Place:
    """An events.jsonl of these lines between two good ones, beside good metrics."""

    def write(folder: Path) -> None:
        good = '{"time_s": 1764000000.0, "kind": "note", "text": "good"}'
        (folder / "events.jsonl").write_text("\n".join([good, *parts, good]) + "\n")
        (folder / "metrics.jsonl").write_bytes(GOOD)

    return written(write)


def both_notes(scene: Scene) -> bool:
    """The good events around the bad ones are there."""
    found = scene.running.get(f"/api/v1/events?run={scene.name}").get("events", [])
    return sum(event["text"] == "good" for event in found) == 2


def events_with(field: str, values: tuple[str, ...]) -> Place:
    """Each kind of event with each of these values."""
    base = {
        "time_s": "1764000000.5",
        "rank": "0",
        "step": "5",
        "pid": "4242",
        "boot_id": '"b"',
        "host": '"h"',
        "pid_start_ticks": "7",
    }
    found = []
    for kind in KINDS:
        for value in values:
            fields = {"kind": f'"{kind}"', **base, field: value}
            found.append("{" + ", ".join(f'"{name}": {one}' for name, one in fields.items()) + "}")
    return events(*found)


def odd_samples(folder: Path) -> None:
    """Names, texts, paths and steps of every type, each beside a good sample; 60,000 of one kind; a file that leads out."""
    values = (*NUMBERS, *TEXTS, '"../../../etc/passwd"', '"/etc/passwd"', '"' + "p/" * 3000 + '"')
    odd = (
        f'{{"name": "a", "text": "x", "path": "x.png", "{field}": {value}}}'
        for field in SAMPLE_FIELDS
        for value in values
    )
    many = (f'{{"name": "many", "step": {step}, "text": "x"}}' for step in range(60_000))
    (folder / "logged_samples.jsonl").write_text("\n".join([*odd, *many, '{"name": "good", "text": "good"}']) + "\n")
    (folder / "x.png").symlink_to("/etc/passwd")
    (folder / "metrics.jsonl").write_bytes(GOOD)


def good_sample(scene: Scene) -> bool:
    """The last of them is stored, or counted; no link is followed out."""
    found = scene.running.get(f"/api/v1/samples?run={scene.name}")
    images = scene.running.get(f"/api/v1/samples?run={scene.name}&name=a").get("samples", [])
    refused = [
        scene.running.get(f"/api/v1/sample?run={scene.name}&id={image['id']}").get("error") for image in images[:3]
    ]
    return found.get("left_out", 0) > 9_000 and len(refused) == 3 and all(refused)


EVENTS_KEPT = both(both_notes, kept)


def nested(depth: int) -> bytes:
    return b'{"step": 1, "x": ' + b'{"a": ' * depth + b"1" + b"}" * depth + b"}"


def as_lists(depth: int) -> bytes:
    return b'{"step": 1, "x": ' + b"[" * depth + b"]" * depth + b"}"


def shapes(folder: Path) -> None:
    """Each line has fields of its own."""
    with (folder / "metrics.jsonl").open("w") as file:
        file.writelines(f'{{"step": {number}, "a{number}": 1}}\n' for number in range(SHAPES))


def large_lines(folder: Path) -> None:
    line = b'{"step": 1, "x": "' + b"y" * 750_000 + b'"}\n'
    with (folder / "metrics.jsonl").open("wb") as file:
        file.writelines(line for _ in range(1950))


def backlog(folder: Path) -> None:
    """A million good lines, all at once."""
    with (folder / "metrics.jsonl").open("w") as file:
        for start in range(0, 1_000_000, 10_000):
            file.write(
                "".join(
                    f'{{"time_s": {1.7e9 + step}, "step": {step}, "x": 1}}\n' for step in range(start, start + 10_000)
                )
            )


def large_texts(folder: Path) -> None:
    text = json.dumps({"time_s": 1764000000.0, "kind": "note", "text": "e" * 900_000}) + "\n"
    with (folder / "events.jsonl").open("w") as file:
        file.writelines(text for _ in range(500))


def many_events(folder: Path) -> None:
    with (folder / "events.jsonl").open("w") as file:
        file.writelines(
            f'{{"time_s": {1764000000 + i}, "kind": "note", "text": "number {i}"}}\n' for i in range(200_000)
        )


@contextmanager
def never_ending_line(scene: Scene) -> Iterator[None]:
    """1 MB every 20 ms without a newline."""
    scene.folder.mkdir()
    ending = threading.Event()

    def write() -> None:
        with (scene.folder / "metrics.jsonl").open("wb", buffering=0) as file:
            while not ending.wait(0.02):
                file.write(b"9" * (1 << 20))

    thread = threading.Thread(target=write)
    thread.start()
    yield
    ending.set()
    thread.join()
    for path in scene.folder.iterdir():
        path.unlink()
    scene.folder.rmdir()


@contextmanager
def flood(scene: Scene) -> Iterator[None]:
    """20,000 lines a second, written live."""
    scene.folder.mkdir()
    ending = threading.Event()

    def write() -> None:
        step = 0
        with (scene.folder / "metrics.jsonl").open("w") as file:
            while not ending.wait(0.05):
                file.write(
                    "".join(f'{{"time_s": {time.time()}, "step": {step + i}, "x": 1, "y": 2}}\n' for i in range(1000))
                )
                file.flush()
                step += 1000

    thread = threading.Thread(target=write)
    thread.start()
    yield
    ending.set()
    thread.join()
    (scene.folder / "metrics.jsonl").unlink()
    scene.folder.rmdir()


def arrives(scene: Scene) -> bool:
    return bool(scene.steps())


BAD = both(file_says("metrics.jsonl"), kept)
LINES = [
    Poison("line-surrogate-name", "a series named by half a surrogate pair", lines(b'{"step": 1, "a\\ud800": 1}'), BAD, quick=True),
    Poison("line-surrogate-value", "a value that is half a surrogate pair", lines(b'{"step": 1, "y": "\\ud800"}'), BAD),
    Poison("line-deep-300", "objects 300 deep", lines(nested(300)), BAD),
    Poison("line-deep-990", "objects 990 deep", lines(nested(990)), BAD, quick=True),
    Poison("line-deep-100000", "objects and lists 100,000 deep", lines(nested(100_000), as_lists(100_000)), BAD),
    Poison("line-127-bits", "integers of 127 bits and 400 digits", lines(*(f'{{"step": 1, "y": {2**127}, "z": 1{"0" * 400}}}'.encode() for _ in range(3))), kept),
    Poison("line-step", "steps of every type", lines(*(f'{{"step": {value}, "y": 1}}'.encode() for value in NUMBERS)), kept),
    Poison("line-time", "times of every type", lines(*(f'{{"time_s": {value}, "step": 1, "y": 1}}'.encode() for value in (*NUMBERS, "-62135596800", "253402300800"))), kept),
    Poison("line-nul", "NUL bytes", lines(b"\0" * 5000), BAD),
    Poison("line-bom", "a byte order mark in the middle", lines(b'\xef\xbb\xbf{"step": 1, "y": 1}'), kept),
    Poison("line-utf16", "UTF-16", lines('{"step": 1, "y": 1}\n'.encode("utf-16") * 3), BAD),
    Poison("line-not-utf8", "a name that is not UTF-8", lines(b'{"step": 1, "caf\xe9": 1}'), BAD),
    Poison("line-not-json", "text, lists, numbers and halves of objects", lines(b"hello", b"[1]", b"7", b'{"a":', b"}", b'"x"'), BAD),
    Poison("line-empty-name", "a series without a name, and one of blanks", lines(b'{"step": 1, "": 1, " ": 2, "\\n": 3, "/": 4}'), kept),
    Poison("line-long-name", "a series whose name has 500,000 letters", lines(b'{"step": 1, "' + b"n" * 500_000 + b'": 1}'), kept),
    Poison("line-many-fields", "a line of 60,000 fields", lines(json.dumps({f"f{i}": i for i in range(60_000)}).encode()), kept, spoils=True),
    Poison("line-shapes", f"{SHAPES} lines, each with a series of its own", written(shapes), there, spoils=True, stays_s=10),
    Poison("line-reserved-names", "fields named like the store's own", lines(b'{"step": 1, "run": 1, "rank": 2, "time": 3, "__class__": 4, "host/cpu_pct": 5}'), kept),
    Poison("lines-large", "1,950 lines of 750 kB", written(large_lines), file_says("metrics.jsonl"), stays_s=8),
    Poison("lines-backlog", "a backlog of a million good lines", written(backlog), arrives, stays_s=8),
    Poison("lines-flood", "20,000 lines a second", flood, there, stays_s=5),
    Poison("line-without-end", "a line that never ends, 50 MB/s", never_ending_line, file_says("metrics.jsonl"), stays_s=4),
]  # fmt: skip
EVENTS = [
    *(
        Poison(f"event-{field}", f"events of each kind whose {field} is of each type", events_with(field, NUMBERS), EVENTS_KEPT, quick=field == "step")
        for field in ("step", "time_s", "rank", "seconds", "pid", "pid_start_ticks", "mono_s", "world_size")
    ),
    *(
        Poison(f"event-{field}", f"events of each kind whose {field} is of each type", events_with(field, TEXTS), EVENTS_KEPT)
        for field in ("text", "kind", "status", "reason", "boot_id", "host")
    ),
    Poison("event-deep", "an event 300 deep, and one 100,000 deep", events(*('{"time_s": 1, "kind": "note", "a": ' + "[" * deep + "]" * deep + "}" for deep in (300, 100_000))), EVENTS_KEPT),
    Poison("event-large", "500 events of 900 kB", written(large_texts), silent, stays_s=5),
    Poison("event-many", "200,000 events at once", written(many_events), there, stays_s=5),
]  # fmt: skip
SAMPLES = [Poison("samples-odd", "samples of every type, and too many", written(odd_samples), both(file_says("logged_samples.jsonl"), good_sample, kept), quick=True)]  # fmt: skip
POISONS = [*LINES, *EVENTS, *SAMPLES]
