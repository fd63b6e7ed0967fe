"""Texts of expressions for fuzzing: random trees as they are written, near misses of these, and anything."""

from __future__ import annotations

from hypothesis import strategies as st

NAMES = (
    "x",
    "y",
    "train/loss",
    "gpu/power_w",
    "gpu/energy_j",
    "train/tokens_per_s",
    "step",
    '"odd name/x"',
    "over",
    "per",
    "nothing",
)
LABELS = ("", '{gpu="0"}', '{gpu=~"*"}', '{host!="box", gpu!~"1?"}', '{name=~"gpu/*"}', "{rank='0',}")
NUMBERS = (
    "0",
    "1",
    "2.5",
    ".5",
    "1e3",
    "3k",
    "2Mi",
    "10 s",
    "60s",
    "5 min",
    "20 steps",
    "300 W",
    "1e308",
    "-1",
    "1e-320",
    "5%",
    "1 kWh",
)
WIDTHS = ("1 s", "10 s", "1 min", "20 steps", "1e300 s", "0 s", "1e-300 s")
EACH = ("abs", "log", "log2", "log10", "exp", "sqrt", "delta", "slope", "increase", "rate")
MANY = ("mean", "min", "max", "sum", "count", "stddev")
OPERATORS = (" + ", " - ", " * ", " / ", " ^ ", " < ", " >= ", " == ", "/", "*", "-")

leaves = st.one_of(st.builds("{}{}".format, st.sampled_from(NAMES), st.sampled_from(LABELS)), st.sampled_from(NUMBERS))


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    width, many, number = st.sampled_from(WIDTHS), st.sampled_from(MANY), st.sampled_from(NUMBERS)
    return st.one_of(
        st.builds("({}){}({})".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds("{}{}{}".format, inner, st.sampled_from(OPERATORS), inner),
        st.builds("-{}".format, inner),
        st.builds("({}) per step".format, inner),
        st.builds("{}({})".format, st.sampled_from(EACH), inner),
        st.builds("{}({})".format, many, inner),
        st.builds("{}({}) by (gpu, host)".format, many, inner),
        st.builds("{} by run ({})".format, many, inner),
        st.builds("{}({}) over {}".format, many, inner, width),
        st.builds("quantile({}, {}) over {}".format, st.sampled_from(("0", "0.9", "1")), inner, width),
        st.builds("quantile(0.5, {}) by gpu".format, inner),
        st.builds("clamp({}, {}, {})".format, inner, number, number),
        st.builds("shift({}, {})".format, inner, width | number),
        st.builds("ema({}, {})".format, inner, width | number),
        st.builds("if({}, {}, {})".format, inner, inner, inner),
    )


trees = st.recursive(leaves, _grown, max_leaves=8)


@st.composite
def _mistaken(draw: st.DrawFn) -> str:
    """A tree with some characters removed, doubled, exchanged or put in."""
    text = draw(trees)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(text) - 1)))
        put = draw(
            st.sampled_from(
                [
                    "",
                    text[place : place + 1] * 2,
                    *"(){}[]\"'=~,+-*/^<>!.%\\ \n\x00é°1eks",
                    " over ",
                    " by ",
                    " per ",
                    "step",
                ]
            )
        )
        text = text[:place] + put + text[place + draw(st.integers(0, 2)) :]
    return text


texts = st.one_of(trees, _mistaken(), st.text(max_size=60), st.text('()-+*/^{}"=~, x1.s', max_size=300))
