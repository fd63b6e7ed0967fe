"""Read the scores that lm-evaluation-harness writes: `results_<date>.json`, whose run is of kind `evaluation`.

`{"results": {"arc": {"alias": "arc", "acc,none": 0.5, "exact_match,strict-match": 0.4}}, "date": 1764000000.0, ...}`
-> `Points(run, labels, ("arc/acc", "arc/exact_match/strict-match"), (0.5, 0.4), 1764000000.0, None)`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...records import Labels, Points, Record, RunInfo
from ..open_files import NotMetrics
from . import Tally
from .hugging_face import Fault, json_object
from .values import FieldBudget, as_number, as_time

FILE = re.compile(r"(.+_)?results(_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d{1,9})?)?\.json")
SOURCE = "results.json"  # of all of a folder: the same scores at another date are a later point
KIND = {"kind": "evaluation", "unit": "task"}
NO_FILTER = ("", "none")
NO_SCORES = ("sample_len", "sample_count")
MAX_CONFIG_BYTES = 16 << 10  # of JSON
ABOUT = (
    "model_name",
    "model_source",
    "git_hash",
    "lm_eval_version",
    "transformers_version",
    "n-shot",
    "versions",
    "n-samples",
)


class Scores:
    """One file of them, which is written once."""

    def __init__(
        self,
        run: str,
        labels: Labels,
        fault: Fault,
        take: Callable[[dict[str, Any]], dict[str, Any] | None],
        written_s: float,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        """`take` gets the configuration of the evaluation, and answers what is known of the run, where that is new."""
        self.tally = Tally()
        self._run, self._labels, self._fault, self._take, self._written_s = run, labels, fault, take, written_s
        self._known: dict[str, str] = dict((state or {}).get("known", {}))  # numbers as text: JSON has no NaN

    def state(self) -> dict[str, Any]:
        return {"known": self._known}

    def parse_whole(self, data: bytes) -> list[Record]:
        fields = json_object(data, self.tally)
        if data.strip() and not _are_scores(fields):
            raise NotMetrics("is not what lm-evaluation-harness writes")
        time_s = as_time(fields.get("date"))
        new = {name: value for name, value in self._scores(fields) if self._known.get(name) != repr(value)}
        self._known |= {name: repr(value) for name, value in new.items()}
        self.tally.first_skip = self.tally.first_skip.removeprefix("line 0: ")  # the file is one value
        records: list[Record] = []
        if new:
            when_s = time_s or self._written_s
            records.append(Points(self._run, self._labels, tuple(new), tuple(new.values()), when_s, None))
        if fields and (info := self._take(self._config(fields))) is not None:
            records.append(RunInfo(self._run, info))
        return records

    def _scores(self, fields: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        """Of the tasks, and of the groups that are no tasks."""
        for task, scores in [*_objects(fields.get("groups")), *_objects(fields["results"])] if fields else ():
            for name, value in scores.items():
                number = as_number(value)
                if number is not None and name not in NO_SCORES:
                    series = series_of(task, name)
                    if fault := self._fault(series):
                        self.tally.skip_field(series, fault)
                    else:
                        yield series, number

    def _config(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        config = fields.get("config")
        said = (config if isinstance(config, dict) else {}) | {name: fields[name] for name in ABOUT if fields.get(name)}
        return FieldBudget(MAX_CONFIG_BYTES, self.tally.skip_field).fields(said)


def series_of(task: str, metric: str) -> str:
    """`series_of("gsm8k", "exact_match_stderr,strict-match") -> "gsm8k/exact_match_stderr/strict-match"`; a filter named `none` is left out."""
    name, _, kind = metric.partition(",")
    return f"{task}/{name}" if kind in NO_FILTER else f"{task}/{name}/{kind}"


def _are_scores(fields: Mapping[str, Any]) -> bool:
    return (
        isinstance(fields.get("results"), dict)
        and isinstance(fields.get("config"), dict)
        and isinstance(fields.get("versions"), dict)
    )


def _objects(value: object) -> list[tuple[str, dict[str, Any]]]:
    return [(str(name), one) for name, one in value.items() if isinstance(one, dict)] if isinstance(value, dict) else []
