"""The pure modules of `assets/flame/`: what is folded, zoomed, searched and coloured."""

from __future__ import annotations

import pytest

from tests.conftest import Ask
from tests.support.browser_trees import FLAME


def test_the_hottest_own_line_counts_what_libraries_below_it_took(ask: Ask) -> None:
    code = "flame.nodes.self_s = [0, 0, 0, 1, 5, 4]; flame.nodes.total_s = [10, 10, 10, 6, 5, 4]; return new Tree(flame).hottest();"
    top = ask(FLAME + code)
    assert (top["frame"]["name"], top["share"]) == ("forward", 0.6)


def test_the_line_of_the_headline_is_counted_as_its_share(ask: Ask) -> None:
    """Without own callees: `step` calls `forward` at its hottest line, and spends its own time at another."""
    code = """
    Object.assign(flame.nodes, { self_s: [0, 0, 4, 3, 0, 3], total_s: [10, 10, 10, 3, 0, 3], own_line: [0, 1, 71, 3, 4, 5], self_line: [0, 1, 72, 3, 4, 5] });
    const { frame, share, whole } = new Tree(flame).hottest();
    const { spent } = await load("flame/tree.js");
    return [frame.name, frame.line, share, whole, spent(new Tree(flame))[2].self_line];"""
    assert ask(FLAME + code) == ["step", 71, 0.4, 1, 72]


def test_frames_that_all_samples_share_fold_into_one_row_and_the_longest_stands_first(ask: Ask) -> None:
    code = """
    const { layout } = await load("flame/layout.js");
    return layout(tree, view, 100).map((row) => row.map(({ node, x, width }) => [node, x, width]));"""
    assert ask(FLAME + code) == [[[-1, 0, 100]], [[2, 0, 100]], [[3, 60, 40], [5, 0, 60]], [[4, 60, 30]]]


def test_by_name_frames_stay_where_they_are_while_a_window_is_dragged(ask: Ask) -> None:
    assert ask(FLAME + "return [...new Tree(flame, 'name').children(2)];") == [3, 5]
    assert ask(FLAME + "return [...tree.children(2)];") == [5, 3]


def test_a_zoom_keeps_the_place_under_the_pointer_and_ends_at_the_whole(ask: Ask) -> None:
    code = """
    const { panned, zoomed } = await load("flame/layout.js");
    const closer = zoomed(tree, view, 0.5, 0.25);
    const moved = panned(tree, closer, 10);
    return [closer, moved, zoomed(tree, moved, 8, 0.5)].map(({ from, to }) => [from, to]);"""
    assert ask(FLAME + code) == [[0.125, 0.625], [0.5, 1], [0, 1]]


def test_frames_narrower_than_a_pixel_are_drawn_as_one(ask: Ask) -> None:
    code = """
    const { layout } = await load("flame/layout.js");
    const many = 1000;
    flame.nodes = {
      frame: Array.from({ length: many + 1 }, (_, i) => i % 6),
      parent: Array.from({ length: many + 1 }, (_, i) => (i ? 0 : -1)),
      total_s: Array.from({ length: many + 1 }, (_, i) => (i ? 1 : many)),
    };
    const rows = layout(new Tree({ ...flame, baseline_seconds: 0 }), { focus: -1, from: 0, to: 1, trunk: -1 }, 100);
    return rows[1].map(({ x, width, narrow }) => [x, Math.round(width), narrow]);"""
    assert ask(FLAME + code) == [[0, 100, 1000]]


def test_a_refetched_tree_is_found_at_the_same_place(ask: Ask) -> None:
    assert ask(
        FLAME + "return [tree.find(tree.path(4).map((node) => tree.name(node))), tree.find(['root ', 'gone x'])];"
    ) == [4, 0]


def test_excess_is_in_seconds_a_unit_and_adds_up_to_the_slowdown(ask: Ask) -> None:
    excess = ask(FLAME + "return [0, 3, 5].map((node) => tree.excess(node));")
    assert excess == pytest.approx([0.2, 0.0, 0.2])
    assert ask(FLAME + "return tree.fullExcess();") == pytest.approx(0.2)


def test_of_several_ranks_excess_is_that_of_a_step_of_each(ask: Ask) -> None:
    """The same stacks of two ranks: the mean, so that the graph says what the sentence says."""
    code = """
    const ranks = ["rank 0", "rank 1"].map((name) => ({ name, file: "", line: 0 }));
    return [tree.excess(0), new Tree({ ...flame, frames: [...flame.frames, ...ranks] }).excess(0)];"""
    one, mean_of_two = ask(FLAME + code)
    assert mean_of_two == pytest.approx(one / 2)


def test_without_steps_excess_is_in_seconds_a_second(ask: Ask) -> None:
    told = ask(
        FLAME
        + "const other = new Tree({ ...flame, units: null, baseline_units: null }); return [other.per, other.excess(5)];"
    )
    assert told == ["second", pytest.approx(6 / 10 - 10 / 30)]


def test_a_function_that_calls_itself_counts_once(ask: Ask) -> None:
    code = """
    const { spent, neighbours } = await load("flame/tree.js");
    flame.nodes.frame = [0, 1, 1, 3, 4, 5]; // main calls main
    const again = new Tree(flame);
    const { callers, callees } = neighbours(again, 1);
    const told = (rows) => rows.map(({ frame, seconds }) => [frame, seconds]);
    return [spent(again)[1].total_s, told(callers), told(callees)];"""
    assert ask(FLAME + code) == [10, [[0, 10]], [[5, 6], [3, 4]]]


def test_the_callers_of_a_function_stand_below_it_up_to_main(ask: Ask) -> None:
    code = """
    const { callersOf } = await load("flame/tree.js");
    const { nodes } = callersOf(flame, tree, 4);
    return [nodes.frame, nodes.parent, nodes.total_s, nodes.base_total_s];"""
    assert ask(FLAME + code) == [[4, 3, 2, 1, 0], [-1, 0, 1, 2, 3], [3] * 5, [15] * 5]


def test_a_window_that_is_being_drawn_stands_beside_the_normal_of_the_last_one(ask: Ask) -> None:
    code = """
    const { withNormalOf } = await load("blame/requests.js");
    const { nodes } = flame;
    const plain = {
      ...flame, units: 10, baseline_seconds: 0, baseline_units: null,
      frames: [...flame.frames, { name: "new", file: "new.py", line: 1 }],
      nodes: { frame: [0, 1, 2, 6, 5], parent: [-1, 0, 1, 2, 2], total_s: [9, 9, 9, 4, 5], self_s: [0, 0, 0, 4, 5], kind: nodes.kind.slice(0, 5),
        base_total_s: null, base_self_s: null },
    };
    const beside = withNormalOf(plain, flame);
    return [new Tree(plain).compared, new Tree(beside).compared, beside.nodes.base_total_s, new Tree(beside).excess(4)];"""
    assert ask(FLAME + code) == [False, True, [30, 30, 30, 0, 10], pytest.approx(5 / 10 - 10 / 100)]


def test_a_search_tells_the_share_of_time_in_what_it_found_once(ask: Ask) -> None:
    told = ask(FLAME + "const { functions, share } = tree.search('M'); return [functions, share];")
    assert told == [2, 1], "main and matmul below it"
    assert ask(FLAME + "return tree.search('LOAD.py').share;") == 0.6


def test_frames_below_a_call_that_may_mix_moments_are_not_trusted(ask: Ask) -> None:
    assert ask(FLAME + "return [3, 5].map((node) => tree.untrusted(node));") == [False, True]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_words_in_frames_can_be_read_on_every_colour(ask: Ask, theme: str) -> None:
    code = """
    const style = document.createElement("style");
    style.textContent = await (await fetch("/tokens.css")).text();
    document.head.append(style);
    const { setTheme } = await load("lib/theme.js");
    setTheme("THEME");
    const { contrast, differenceTint, tokenTint } = await load("flame/paint.js");
    const channels = (colour) =>
      colour.startsWith("#") ? [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)) : colour.match(/[0-9]+/g).map(Number);
    const shares = Array.from({ length: 49 }, (_, i) => i / 24 - 1);
    const tints = [false, true].flatMap((faded) => [
      ...shares.map((share) => differenceTint(share, faded)),
      ...["flame-own", "flame-library", "flame-hot"].map((name) => tokenTint(name, faded)),
    ]);
    return Math.min(...tints.map(({ fill, ink }) => contrast(channels(fill), channels(ink))));""".replace(
        "THEME", theme
    )
    assert ask(code) >= 4.5
