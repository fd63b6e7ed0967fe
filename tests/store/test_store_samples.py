"""What every store must do with samples of data."""

from __future__ import annotations

from collectors.records import Sample
from collectors.store.store import MAX_SAMPLE_BYTES, MAX_SAMPLES, SampleQuery, Store
from tests.support.stored import START_S, sample
from tests.support.stored import opened as opened  # a fixture
from tests.support.stored import store as store  # a fixture


def test_samples_come_back_by_step_as_they_were(store: Store) -> None:
    image = Sample("a", "val/image", "image", "", START_S, 2**53, 3, b"", "events.out", 2**40, 9, 2**32 - 1)
    file = Sample(
        "a", "val/image", "image", "image/png", None, None, path="/job/ä,%.png", length=7, written_s=START_S + 0.5
    )
    store.append([sample("answers", 7), sample("answers", 3), image])
    store.append([sample("answers", None), file, sample("answers", 3, run="b")])
    names = {found.name: found[1:] for found in store.sample_names("a").names}
    assert names == {
        "answers": (("text",), 3, 3, 7, START_S + 3, START_S + 7),
        "val/image": (("image",), 2, 2**53, 2**53, START_S, START_S),
    }
    found = store.samples(SampleQuery("a", "answers", data=True))
    assert [row._replace(number=0) for row in found] == [
        sample("answers", None),
        sample("answers", 3),
        sample("answers", 7),
    ]
    assert [row._replace(number=0) for row in store.samples(SampleQuery("a", "val/image"))] == [file, image]
    assert [row.data for row in store.samples(SampleQuery("a", "answers"))] == [b""] * 3, "a list stays small"
    assert [row.step for row in store.samples(SampleQuery("a", "answers", 4, 9))] == [7]
    assert [row.step for row in store.samples(SampleQuery("a", "answers", limit=1))] == [7]
    (one,) = store.samples(SampleQuery("a", number=found[1].number, data=True))
    assert one == found[1] and store.samples(SampleQuery("b", number=found[1].number)) == []


def test_samples_are_read_through_by_arrival(store: Store) -> None:
    store.append([sample(f"name {step % 3}", 100 - step) for step in range(10)])
    first = store.samples(SampleQuery("a", limit=4))
    rest = store.samples(SampleQuery("a", after=first[-1].number))
    assert [row.step for row in [*first, *rest]] == [100 - step for step in range(10)]


def test_what_goes_beyond_the_limits_of_a_run_is_counted_and_costs_no_other_run(store: Store) -> None:
    large = b"x" * (MAX_SAMPLE_BYTES // 50)
    store.append([sample("large", step, data=large) for step in range(52)])
    assert store.sample_names("a").names[0].count == 50 and store.sample_names("a").left_out == 2
    store.append([Sample("a", "image", "image", "", None, step, path="x") for step in range(MAX_SAMPLES + 3)])
    names = store.sample_names("a")
    assert [name.count for name in names.names] == [MAX_SAMPLES, 50] and names.left_out == 5
    store.append([sample("large", 0, run="b"), Sample("a", "tone", "audio", "", None, 1, path="x")])
    assert store.sample_names("b").left_out == 0 and len(store.samples(SampleQuery("a", "tone"))) == 1
