"""One line as it is shown when it is opened: whole, with its fields and with the numbers that can become curves."""

from __future__ import annotations

from typing import NamedTuple

from collectors.analysis.logs.fields import field_count
from collectors.analysis.logs.structured import PAIR
from collectors.records import LogLine
from collectors.store.lines import LineTemplate

from ..auth.viewing import seen
from .marking import TextSpan, number_places
from .viewed import seen_numbers, seen_template

MOST_FIELDS = 100


class LineField(NamedTuple):
    """`text` is what the line says, `"loss=0.25"`: a search for it finds other lines that say so."""

    name: str
    text: str


class OpenedLine(NamedTuple):
    line: LogLine
    template: LineTemplate | None  # None while it is not known
    numbers: list[TextSpan]  # by field of the template; of no extent where a field has no number
    fields: list[LineField]


def opened(line: LogLine, template: LineTemplate | None) -> OpenedLine:
    text = seen(line.text)
    fields = [LineField(pair["key"], pair[0].strip()) for pair in PAIR.finditer(text)][:MOST_FIELDS]
    has_numbers = template is not None and not template.wide
    places = number_places if text == line.text else seen_numbers
    numbers = places(line.text)[: field_count(template.text)] if has_numbers and template is not None else []
    return OpenedLine(line._replace(text=text), template and seen_template(template), numbers, fields)
