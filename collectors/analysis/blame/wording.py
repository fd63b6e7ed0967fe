"""Verdicts as one sentence: subject, number, cause."""

from __future__ import annotations

from dataclasses import replace

from ...records import Frame
from ..stacks.owning import file_name
from .verdict import GpuLook, HostLook, Verdict

NOTABLY = 1.1  # times the size
ALL, MORE_THAN_ALL = 1.02, 1.25  # of the lost time: then other work takes less meanwhile; the same in assets/blame/blame.js


def worded(verdict: Verdict, gpu: GpuLook | None = None, host: HostLook | None = None, neighbour: str = "") -> Verdict:
    """The verdict with its sentence, and what stands out in it."""
    sentence = _sentence(verdict, gpu, host, neighbour)
    if verdict.suspect is None or verdict.verdict not in ("line", "collective_wait"):
        return replace(verdict, sentence=sentence)
    frame = verdict.suspect.frame
    return replace(verdict, sentence=sentence, lead=_lead(verdict), place=place(frame) if frame.file else "")


def _sentence(verdict: Verdict, gpu: GpuLook | None, host: HostLook | None, neighbour: str) -> str:
    match verdict.verdict:
        case "no_profile":
            return "No stack was sampled in this time."
        case "too_few_samples":
            samples = f"{verdict.samples} sample{'' if verdict.samples == 1 else 's'}"
            return f"Only {samples} in this window: too few to blame a line."
        case "no_difference" if verdict.reason == "elsewhere":
            return f"This part of the {verdict.unit_name} looks like normal: the {verdict.unit_name} lost its time elsewhere."
        case "no_difference":
            return _like_baseline(verdict)
        case "gpu_slower":
            return f"{gpu_cause(gpu)}: {_lost(verdict)}." if gpu else ""
        case "cpu_taken":
            return f"{cpu_cause(host)}: {_lost(verdict)}." if host else ""
        case "neighbour":
            return f"{neighbour}: {_longer(verdict)}{_lost(verdict)}."
        case "collective_wait" if verdict.suspect is None:
            return f"The other ranks wait for rank {verdict.rank}, and no line of it stands out: {_lost(verdict)}."
        case "unknown" if verdict.answer_s and (verdict.slowdown_s or 0.0) <= 0.5 * (verdict.answer_s[0] - verdict.answer_s[1]):
            return f"{_answers(verdict)}, and no more work: requests wait for each other."
        case "unknown":
            return f"No single line stands out: {_lost(verdict)}."
    return _line(verdict)


def _like_baseline(verdict: Verdict) -> str:
    """`This window looks like normal for its size: its steps have 1.4 times the tokens.`"""
    if verdict.longer is not None and not 1 / NOTABLY < verdict.longer < NOTABLY:
        what = verdict.size.rpartition(" ")[2]
        return f"This window looks like normal for its size: a {verdict.unit_name} has {verdict.longer:.2f} times the {what}, and takes that much time."
    if verdict.answer_s:
        return f"{_answers(verdict)}: that is like normal."
    ratio = (verdict.window_unit_s or 0.0) / (verdict.baseline_unit_s or 1.0)
    if ratio > NOTABLY:
        return f"A {verdict.unit_name} takes {ratio:.2f} times as long as normal, and no function longer than chance explains."
    return "This window looks like normal: no function takes longer than chance explains."


def _line(verdict: Verdict) -> str:
    """`94 % of the lost time: data.py:88 decode_image, in PIL ImageFile.load, +369 of +393 ms a step.`

    `More than all of the lost time: model.py:7 forward, +1.7 ms a step; the step takes +0.97 ms, since other work takes less.`
    """
    assert verdict.suspect is not None
    found = verdict.suspect
    called = f"{found.caller} -> {place(found.frame)}" if found.caller else place(found.frame)
    where = ", ".join(part for part in (called, _in(found.leaf), verdict.reason) if part)
    if verdict.rank is not None and verdict.verdict == "collective_wait":
        where = f"rank {verdict.rank}, {where}"
    lead = _lead(verdict)
    waiting = "; the other ranks wait for it" if verdict.verdict == "collective_wait" else ""
    if not verdict.baseline:
        return f"{lead} of this window: {where}; there is no normal to compare it with{waiting}."
    excess_s, slowdown_s = verdict.excess_s or 0.0, verdict.slowdown_s or 0.0
    if verdict.units is None:
        return f"{lead} of the time spent differently from normal: {where}, {signed(excess_s)} per second{waiting}."
    if verdict.answer_s:
        waiting = f"; {_answers(verdict, first=False)}"
    if excess_s > ALL * slowdown_s:
        less = ", since other work takes less" if excess_s > MORE_THAN_ALL * slowdown_s else ""
        lost = f"the {verdict.unit_name} takes {signed(slowdown_s)}{less}"
        return f"{lead} of the lost time: {where}, {signed(excess_s)} a {_unit(verdict)}; {lost}{waiting}."
    return f"{lead} of the lost time: {where}, {_of(excess_s, slowdown_s)} a {_unit(verdict)}{waiting}."


def _lead(verdict: Verdict) -> str:
    """`94 %`, `All` and `More than all`."""
    excess_s, slowdown_s = verdict.excess_s or 0.0, verdict.slowdown_s or 0.0
    if not verdict.baseline or verdict.units is None or excess_s <= ALL * slowdown_s:
        return percent(verdict.excess_share or 0.0)
    return "More than all" if excess_s > MORE_THAN_ALL * slowdown_s else "All"


def gpu_cause(gpu: GpuLook | None) -> str:
    """`The GPU is slower, clock 1410 MHz, normal 1980 MHz (power cap)`."""
    if gpu is not None and gpu.clock_mhz and gpu.clock_mhz[0] < gpu.clock_mhz[1]:
        why = f" ({', '.join(gpu.reasons)})" if gpu.reasons else ""
        return f"The GPU is slower, clock {gpu.clock_mhz[0]:.0f} MHz, normal {gpu.clock_mhz[1]:.0f} MHz{why}"
    return "The GPU is as busy as normal and its kernels take longer"


def cpu_cause(host: HostLook) -> str:
    """`Other programs keep 1.9 of 2 cores busy, normal 0.1`."""
    return f"Other programs keep {host.others[0]:.1f} of {host.cores} cores busy, normal {host.others[1]:.1f}"


def place(frame: Frame) -> str:
    """`data.py:88 decode_image`."""
    return f"{file_name(frame.file)}:{frame.line} {frame.name}" if frame.file else frame.name


def percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def signed(seconds: float) -> str:
    """`+369 ms`, `+1.2 s`, `+0.35 ms`."""
    return f"{seconds:+.2f} s" if abs(seconds) >= 10 else f"{_ms(seconds)} ms"


def _of(part_s: float, whole_s: float) -> str:
    """`+369 of +393 ms`."""
    if max(abs(part_s), abs(whole_s)) >= 10:
        return f"{part_s:+.2f} of {whole_s:+.2f} s"
    return f"{_ms(part_s)} of {_ms(whole_s)} ms"


def _longer(verdict: Verdict) -> str:
    """`steps 18 % longer, `"""
    if verdict.units is None or not verdict.baseline_unit_s or not verdict.slowdown_s:
        return ""
    return f"{verdict.unit_name}s {percent(verdict.slowdown_s / verdict.baseline_unit_s)} longer, "


def _lost(verdict: Verdict) -> str:
    if verdict.units is None or verdict.baseline_unit_s is None or verdict.slowdown_s is None:
        return "time is spent differently from normal"
    return f"{signed(verdict.slowdown_s)} a {_unit(verdict)}, normal {signed(verdict.baseline_unit_s).lstrip('+')}"


def _answers(verdict: Verdict, first: bool = True) -> str:
    """`A request takes 31 ms, normal 11 ms`"""
    here_s, there_s = verdict.answer_s or (0.0, 0.0)
    article = "A" if first else "a"
    return f"{article} {verdict.unit_name} takes {signed(here_s).lstrip('+')}, normal {signed(there_s).lstrip('+')}"


def _unit(verdict: Verdict) -> str:
    """`step`, `step of 412 tokens` where steps are of different sizes."""
    return f"{verdict.unit_name} of {verdict.size}" if verdict.size else verdict.unit_name


def _ms(seconds: float) -> str:
    ms = seconds * 1e3
    return f"{ms:+.0f}" if abs(ms) >= 10 else f"{ms:+.1f}" if abs(ms) >= 1 else f"{ms:+.2f}"


def _in(leaf: str) -> str:
    return f"in {leaf}" if leaf else ""
