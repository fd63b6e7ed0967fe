"""Times of the browser in the zone that the page names."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from tests.conftest import Ask

ZONES = ("UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Berlin", "Pacific/Apia", "America/New_York")


@given(some.lists(some.integers(-2_000_000_000, 4_000_000_000), min_size=1, max_size=20), some.sampled_from(ZONES))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_times_are_those_of_the_zone_that_the_page_names(ask: Ask, times: list[int], zone: str) -> None:
    code = f"""
    document.documentElement.dataset.timeZone = "{zone}";
    const {{ clock, day, minute, sameDay, weekday, year }} = await load("lib/format.js");
    return {times}.map((time_s) => [clock(time_s), minute(time_s), day(time_s), weekday(time_s), year(time_s), sameDay(time_s, {times[0]})]);"""
    local = [datetime.fromtimestamp(time_s, ZoneInfo(zone)) for time_s in times]
    if any((moment.utcoffset() or timedelta()).seconds % 900 for moment in local):
        return  # before zones were rounded to quarters of an hour
    expected = [
        [
            f"{moment:%H:%M:%S}",
            f"{moment:%H:%M}",
            f"{moment.day} {moment:%b}",
            f"{moment:%a}",
            moment.year,
            moment.date() == local[0].date(),
        ]
        for moment in local
    ]
    assert [[*row[:2], row[2].replace("Sept", "Sep"), *row[3:]] for row in ask(code)] == expected


def test_an_unknown_zone_and_an_impossible_time_cost_only_themselves(ask: Ask) -> None:
    code = """
    document.documentElement.dataset.timeZone = "No/Where";
    const { clock, sameDay } = await load("lib/format.js");
    const { timeTicks } = await load("lib/axis.js");
    const there = clock(1e9) === new Date(1e12).toTimeString().slice(0, 8);
    document.documentElement.dataset.timeZone = "Asia/Kolkata";
    const { times } = timeTicks({ lo: 1.7e9, hi: 1.7e9 + 86400 }, 8);
    return [there, typeof clock(1e20), sameDay(1e20, 1e20), times.every((at) => clock(at).endsWith(":00:00"))];"""
    assert ask(code) == [True, "string", False, True]
