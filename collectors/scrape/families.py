"""Take an exposition apart: the families of metrics that are of interest, each parsed for itself, so that a bad one costs only itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from .fetch import Exposition

SERVERS = (
    "vllm:",
    "sglang:",
    "nv_",
    "DCGM_FI_",
    "tgi_",
    "trtllm_",
)  # vLLM, SGLang, Triton, dcgm-exporter, ...: only theirs where there are any
NOISE = ("python_", "process_", "go_", "promhttp_", "http_", "scrape_", "up")  # of the program that reports, otherwise
MOST_LINES = 40_000  # samples that are parsed: a microsecond or twenty each


def families_of(exposition: Exposition) -> tuple[list[Metric], int, bool]:
    """The families, how many blocks could not be read, and whether some were left out because there are too many lines."""
    blocks = [(name, lines) for name, lines in _blocks(exposition.text.splitlines()) if lines]
    known = [block for block in blocks if block[0].startswith(SERVERS)]
    wanted = known or [block for block in blocks if not block[0].startswith(NOISE)]
    found: list[Metric] = []
    bad = read = 0
    for _, lines in wanted:
        read += len(lines)
        if read > MOST_LINES:
            return found, bad, True
        try:
            found += _parsed(lines, is_openmetrics=exposition.is_openmetrics)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError):  # what the parsers raise
            bad += 1
    return found, bad, False


def _parsed(lines: list[str], *, is_openmetrics: bool) -> Iterable[Metric]:
    if is_openmetrics:
        return list(openmetrics("\n".join([*lines, "# EOF\n"])))  # type: ignore[no-untyped-call]
    return list(prometheus("\n".join(lines) + "\n"))


def _blocks(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The lines from a family's first comment to the next one's; samples without a comment stand with the family before."""
    name, block = "", list[str]()
    for line in lines:
        words = line.split(" ", 3) if line.startswith("# ") else []
        if len(words) > 2 and words[1] in ("HELP", "TYPE", "UNIT") and words[2] != name:
            yield name, block
            name, block = words[2], []
        if line and line != "# EOF":
            if not name and not line.startswith("#"):
                name = line.partition("{")[0].partition(" ")[0]
            block.append(line)
    yield name, block
