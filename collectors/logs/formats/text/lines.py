"""Metrics in one line of text: the words and number formats of training scripts."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

import orjson
import re2

from ..fields import EPOCHS, STEPS

INTEGER = r"(?:\d{1,3}(?:_\d{3}){1,4}|\d{1,15})"  # 1_000 was 1,000
NUMBER = (
    r"[-+]?(?:(?:\d{1,20}|\d{1,3}(?:_\d{3}){1,4})(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][-+]?\d{1,3})?|[-+]?(?:nan|inf)\b"
)

_STEP = r"(?:time)?steps?|iterations?|iters?|itrs?|mini-?batch(?:es)?|batch(?:es)?|updates?|ticks?"
_OVERALL = (
    r"(?:trainer/)?global[_ -]?(?:env[_ ]?)?(?:steps?|iterations?|iters?|batch)|num[_ ]updates|(?:total|num|env|environment)[_ -](?:env[_ -])?(?:num[_ -])?(?:time)?steps?"
    r"|total[_ -](?:iterations?|iters?|updates?|batches)"
)
_OUTER = r"epochs?|episodes?|rounds?|generations?|gen|cycles?|trials?|games?|folds?|stages?|ep"
COUNTER = re.compile(
    rf"(?:(?<![\w/.\-])|(?<=\d/))(?:(?:train|training|current|cur|curr|opt|optimizer|optim|grad|gradient|inner|n)[_ /])?"
    rf"(?P<word>{_OVERALL}|{_STEP}|{_OUTER}|it(?=\s{{0,8}}[:=]|\s{{1,8}}\d))(?:[_ -]?(?:idx|index|id|num|number|no\.?|i))?(?:\(\w{{1,10}}\))?[\"']?"
    rf"\s{{0,16}}(?:[:=#]|-(?=\d))?\s{{0,16}}[\[(\"']?\s{{0,16}}(?P<done>{INTEGER}(?:\.\d{{1,9}})?)[\"']?"
    rf"(?:\s{{0,4}}(?:/|\bof\b|\bout of\b)\s{{0,12}}(?P<total>{INTEGER}))?(?!\w|%|[/.:,\-]\d)",
    re.IGNORECASE,
)
NO_COUNTER_BEFORE = frozenset(
    [
        "per",
        "skipped",
        "nan",
        "best",
        "max",
        "maximum",
        "min",
        "warmup",
        "every",
        "each",
        "last",
        "from",
        "since",
        "until",
        "patience",
        "save",
        "saved",
        "eval",
        "logging",
        "next",
        "target",
        "for",
        "accumulation",
        "optimization",
        "resume",
        "resumed",
        "resuming",
        "gradient_accumulation",
        "load",
        "loaded",
        "loading",
        "checkpoint",
        "num",
        "number",
    ]
)
OUTER = re.compile(_OUTER, re.IGNORECASE)
STEP = re.compile(_STEP + "|it", re.IGNORECASE)

_LEVEL = r"DEBUG|DBG|INFO|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL"
_DATE = r"\d{4}[-/]\d\d?[-/]\d\d?|\d\d?[-/]\d\d?(?:[-/]\d{4})?"
_STAMP = rf"(?:(?:{_DATE})[T ,]{{1,2}})?\d\d?:\d\d:\d\d(?:[.,]\d{{1,9}})?(?:Z|[+-]\d\d:?\d\d)?(?: [AP]M)?\b"
PREFIX = re.compile(
    r"\s{0,8}(?:"
    rf"\[(?:{_LEVEL})\|[^\]]{{1,100}}\]|"
    rf"(?:[\[(]{_STAMP}(?:[,:]? {{1,2}}[\w.]{{1,60}})?[\])]|[\[(]?{_STAMP})(?=[\s:,|\]\[(-]|$)"  # with the logger of Detectron2
    rf"|[\[(]?(?:{_LEVEL})[\])]?(?=[\s:|>\]-])"
    r"|[IWEF](?:\d{4}){1,2}(?=\s\d)"
    r"|\[(?!(?:epoch|step|iter|batch|round)\b)(?:rank[ :=]{0,2}\d{1,6}|[A-Za-z_][\w.]*(?::\d{1,6})?(?::\w{1,60})?)\]:?"
    r"|[\w.]{1,80}:\d{1,6}(?=\s>>)"
    r"|\(?[\w./-]{1,100}\.py[: ]\d{1,6}(?::\w{1,60})?[\])]?:?"
    r"|[\w.]{1,80}:[\w.<>]{1,80}:\d{1,6}(?=\s-)"  # of loguru
    r"|\([A-Za-z_][\w.]{0,60}:\d{1,6}\)"
    r"|[-|>:,]{1,4}(?=\s|$)"
    r"|\|(?=\s)"
    r")\s{0,8}",
    re.IGNORECASE,
)
PREFIX_BEHIND = re.compile(
    r"(?:\d{2,9}\s(?=(?:[\w.]{1,60}\s)?[\w./-]{1,100}\.py:\d)|[\w.]{1,60}\s(?=[\w./-]{1,100}\.py:\d)|[A-Za-z_][\w.]{0,80}(?=\s[-|]\s)|:[A-Za-z_][\w.]{0,80}:)\s{0,8}"
)  # once there was a time or a level

STOP = frozenset(
    [
        "the",
        "a",
        "an",
        "is",
        "was",
        "of",
        "with",
        "to",
        "for",
        "at",
        "in",
        "on",
        "and",
        "now",
        "has",
        "got",
        "than",
        "after",
        "before",
        "so",
        "by",
        "from",
        "new",
        "its",
        "this",
        "that",
        "while",
        "when",
        "are",
        "reached",
        "achieved",
        "equals",
        "becomes",
    ]
)
SEPARATOR = re.compile(
    r"[,;|\t\[\](){}<>\"`!\u2502\u2503\u2022]|\s{2,}|\.\s|[:=]\s|\s-\s|\s-$|^\s?-\s|:$|=|(?<!\w)'|'(?!\w)|\d\.?\s"
)
UNIT_BEHIND = frozenset(
    [
        "ms",
        "us",
        "ns",
        "s",
        "sec",
        "secs",
        "seconds",
        "min",
        "mins",
        "minutes",
        "h",
        "it",
        "gb",
        "mb",
        "kb",
        "gib",
        "mib",
        "set",
        "error",
        "results",
        "metrics",
        "epoch",
        "end",
        "of",
        "training",
        "final",
        "summary",
        "average",
        "done",
        "finished",
        "after",
        "step",
    ]
)

_PART = {
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating"), "val"),
    **dict.fromkeys(("eval", "evaluation", "evaluate", "evaluating"), "eval"),
    **dict.fromkeys(("test", "testing"), "test"),
    "dev": "dev",
}
_PARTS = "|".join(sorted(_PART, key=len, reverse=True))
_OF = r"(?:\s?(?:set|data|epoch|step|results?|metrics?|errors?|dataloader \d{1,3}))?"
PART_FIRST = re.compile(
    rf"[\s*=\-#>|\[(]{{0,20}}(?:(?:{_PARTS}){_OF}\s?[:)\]|]|(?:{_PARTS})\s(?:epoch|step|iter|batch|set|results?)\b)",
    re.IGNORECASE,
)
PART_INSIDE = re.compile(rf"(?<=[\[(|])\s{{0,4}}(?:{_PARTS}|train(?:ing)?){_OF}\s?[:)\]|]", re.IGNORECASE)
PART_KEY = re.compile(
    rf"[\s*=\-#>|]{{0,20}}({_PARTS}|train(?:ing)?)\s{{1,4}}[a-z]", re.IGNORECASE
)  # val Loss: 0.35 Acc: 0.88
TRAIN = re.compile(r"[\s*=\-#>|\[(]{0,20}train(?:ing)?(?:\s(?:epoch|step|iter|batch|loss))?\s?[:|\])]", re.IGNORECASE)
OF_FILES = re.compile(
    r"(?:sav|load|restor|resum|writ)(?:e|ed|ing)\b.{0,40}\b(?:checkpoints?|model|weights|state|file|from|to)\b",
    re.IGNORECASE,
)  # Saved checkpoint at step 5, score 7.2
BAR_OF_OTHER = re.compile(
    rf"\b(?:{_PARTS}|sanity|predict\w*|load\w*|map|download\w*|generating|token\w*|fetch\w*|sav\w+|filter\w*|prepar\w*|cach\w+|extract\w*"
    r"|convert\w*|creat\w+|compil\w+|scan\w*|process\w*|read\w*|writ\w+|build\w*|resolving|upload\w*|copy\w*|index\w*)\b",
    re.IGNORECASE,
)

MEASURED = (
    r"loss(?:es)?|acc|accuracy|correct|ppl|perplexity|err|error|rewards?|returns?|score|f1|auc|auroc|bleu\d?|rouge\w{0,4}|mfu|m?ap\d{0,2}|mean_ap|miou|iou"
    r"|dice|psnr|ssim|lpips|r?mse|mae|logloss|fid|wer|cer|ndcg|r2|elbo|kl|nll|bpb|bpc|precision|recall|fitness|top-?[15]|l[12]|mlogloss|merror"
)
_END_USUALLY = re.compile(
    rf"(?:^|[\W_])(?:(?:{MEASURED})(?:@[\w.:\-]{{1,10}})?|prec@\d{{1,3}}|hits?@\d{{1,3}}|lr|learning rate|learning_rate|grad[ _]?norm|gnorm)$",
    re.IGNORECASE,
)
_IS_MEASURED = re.compile(
    rf"(?:^|[\W_\d])(?:(?:{MEASURED})|prec|hits?)(?:@[\w.:\-]{{1,10}})?(?:$|[\W_])|loss$|^(?:train|val|valid|test|eval|dev)[_/](?!num_|.*(?:size|batch|count|num)$)",
    re.IGNORECASE,
)
WANTED = re2.compile(  # in every line that says anything: cheap, in lines that do not
    r"(?i)(?:step|iter|itr|epoch|batch|update|tick|episode|round|gen|generation|cycle|trial|game|fold|stage|\bep|\bit)(?:s|es|ion|ions|_?\w{0,6})?"
    r"[^a-z0-9]{1,40}[a-z]{0,3}\d|[0-9](?:epoch|batch|it |it\[)|\d/\s*\d|\[\s*\d+\]|^\s*#?\d+[:)|\s]|^\s.*[=:]|^\w[\w /%.-]{0,40}[:=]\s*[-+.\d]|\{"
    rf"|(?:\b|_|[A-Z]|\d)(?:{MEASURED}|prec|hits?)(?:\b|@|_)|loss|\b(?:val|valid|test|eval|dev|train)"
)
_SHARE = re.compile(
    r"(?:^|[\W_])(?:acc|accuracy|correct|precision|recall|success(?:es)?|top-?[15]|score|solved|win|wins)(?:$|[\W_])",
    re.IGNORECASE,
)
_OF_OPTIMIZER = re.compile(
    r"(?:^|[\W_])(?:lr\d*|learning[_ -]?rate|wd|weight[_ -]?decay|momentum|gnorm|grad(?:ient)?s?[_ -]?(?:norm|scale)|norm[_ ]of[_ ]grad\w{0,8}|loss[_ -]?scale)(?:$|[\W_\d])",
    re.IGNORECASE,
)
_OF_WHOLE = re.compile(
    r"(?:^|[\W_])(?:time|eta|elapsed|duration|secs?|seconds|mins?|minutes|ms|mem|memory|vram|throughput|per[_ ]s(?:ec(?:ond)?)?)(?:$|[\W_])"
    rf"|^(?:{_STEP}|{_OUTER})$",
    re.IGNORECASE,
)
_COUNTS = re.compile(
    rf"(?:^|[\W_])eta(?:$|[\W_])|(?:^|[\W_])(?:{_STEP}|{_OUTER}|it|remaining|v_num|pid|port|seed|line|file|version|id|size|node|host|gpu|cuda|device|workers?)$"
    r"|^(?:(?:local_|global_)?rank|world_size|num_workers|total|best_\w*(?:step|epoch|iteration|iter))$",
    re.IGNORECASE,
)


@lru_cache(4096)
def ends_usually(name: str) -> bool:
    """Whether a name is of those that are known as metrics: `train loss`, `D_loss`, `Acc@1`, `lr`."""
    return _END_USUALLY.search(name) is not None


@lru_cache(4096)
def is_measured(name: str) -> bool:
    """Whether a series of that name is a result, which one line is enough for: `eval_loss`, `val/acc`; not `lr`, not `time`."""
    return _IS_MEASURED.search(name) is not None


def is_share(name: str) -> bool:
    """Whether `98/100` may be said of it."""
    return _SHARE.search(name) is not None


@lru_cache(4096)
def is_no_metric(name: str) -> bool:
    """What counts, or names a thing: `epoch`, `batch_size`, `rank`; not `time_per_step`."""
    return _COUNTS.search(name) is not None and not re.search(r"per[_ ]\w{1,60}$|\w/\w{1,60}$", name)


@lru_cache(4096)
def is_of_optimizer(name: str) -> bool:
    """What no part of the data has: `lr`, `grad_norm`, `weight_decay`."""
    return _OF_OPTIMIZER.search(name) is not None and (name.endswith("scale") or not is_measured(name))


@lru_cache(4096)
def is_of_whole(name: str) -> bool:
    """What is rather of all that a line says than of the part of the data that it named last: `lr`, `time`, `eta`, `gpu_mem`, `epoch`."""
    return is_of_optimizer(name) or _OF_WHOLE.search(name) is not None


def is_of_past(name: str) -> bool:
    """What repeats an earlier value: `best_val_loss`."""
    return name.lower().startswith(("best", "min", "max", "lowest", "highest", "peak"))


def part_of(text: str) -> str:
    """The part of the data that text names: `Validation DataLoader 0: ` -> `val`; "" for none."""
    return next((_PART[found] for found in re.findall(r"[a-z]+", text.lower()) if found in _PART), "")


def level_of_word(word: str) -> str:
    """`global`, `inner` or `outer` of a counter's word."""
    if OUTER.fullmatch(word):
        return "outer"
    return "inner" if STEP.fullmatch(word) else "global"


COLUMN_OF_STEP = re.compile(
    rf"[\s|#\u2502\u2503]{{0,40}}(?:(?:global|total)[ _])?(?:{_STEP}|{_OUTER}|class|E\s{{2,8}}#)(?:[\s|,\u2502\u2503]{{1,40}}[A-Za-z_#]|$)",
    re.IGNORECASE,
)


# Finds how far the training is, and the metrics, in one line of text.
#
# `step 400: train loss 1.2` -> step 400, `{"train_loss": 1.2}`
#
# A line is prefix (time, level, logger), counters (`Epoch 2/5, step 10/100`, `[10]`, a progress bar) and fields (`lr=3e-4`, `val loss 1.2`,
# `Accuracy: 98/100`), in any order. Nothing here knows a library: what a count means over several lines is decided in `steps.py`.

MAX_ON_A_LINE = 200
MAX_CHARS = 8_000  # of a line that is looked at
MAX_SHAPES, MAX_SHAPE_CHARS = 2_000, 1_000  # that are remembered
MAX_WORDS = 5  # of a name
DIGIT = re.compile(r"\d")
DECIMAL_COMMA = re.compile(r"(?<![\w.,\-\[(])-?0,\d{1,20}(?![\d,])")  # 0,693
ZEROS = str.maketrans("123456789", "0" * 9)
THOUSANDS = re.compile(r"(?<![\d.,:\[(])[1-9]\d{0,2}(?:,\d{3}){1,4}(?!\d|,\d|\.\d{1,20},)")
VALUE = re.compile(
    r"(?P<sep>[\"']?\s{0,4}(?:(?<![:=])[:=]{1,2}(?![:=])|->|\u2192)\s{0,40}+|\s{1,40}+(?:is\s)?)"
    r"(?P<open>(?:np\.)?(?:tensor|float\d\d|array|bfloat16|int\d\d)?[(\[]{1,3}|[\"'])?"
    rf"\s{{0,8}}+(?P<value>{NUMBER})(?:\s?/\s?(?P<of>{INTEGER}))?"
    r"(?P<close>(?=[\s;|)\]}%'\"\u2502\u2503]|,(?!\d))|[.:]?(?=\s|$))",
    re.IGNORECASE,
)
SENTENCE = re.compile(  # Accuracy of the network on the 10000 test images: 55 %
    rf"\s{{0,8}}(?P<name>(?:[a-z]{{2,12}}\s){{0,2}}(?:{MEASURED}))\s(?:of|on|over|for)\s(?:the|all|our|your)\s[\w\s-]{{2,80}}"
    rf"(?::|=|\bis\b)\s{{0,4}}(?P<value>{NUMBER})\s?%?\.?\s{{0,8}}$",
    re.IGNORECASE,
)
TQDM = re.compile(
    rf"(?P<done>{INTEGER})/(?P<total>{INTEGER}) \[\d[\d:]{{0,12}}<(?:\d{{1,4}} days?, )?[\d:?]{{1,12}}(?:, {{1,4}}[\d.?]{{1,12}}(?:s/)?(?P<unit>[^\W\d]{{1,20}}))?"
)
ENDLESS = re.compile(rf"(?P<done>{INTEGER})(?P<unit>it|steps?|batch(?:es)?|ba) \[\d[\d:]{{0,12}}, ")
DRAWN = re.compile(  # of Keras
    rf"\s{{0,8}}(?P<done>{INTEGER})/(?P<total>{INTEGER})\s{{1,4}}(?:[\u2501\u2500\u2578\u257a]{{3}}|\[[=>.]{{3}})"
)
RICH = re.compile(rf"[\u2501\u2500\u2578\u257a\u2588]{{3}}\s{{1,4}}(?P<done>{INTEGER})/(?P<total>{INTEGER})\s")
LED = re.compile(
    rf"\s{{0,8}}\[[=>.#-]{{5,200}}\][^\d].{{0,400}}\s(?P<done>{INTEGER})/(?P<total>{INTEGER})\s{{0,8}}$"
)  # [==>...] Loss: 0.5 | 1/391
OF = rf"(?P<done>{INTEGER})\s?/\s{{0,8}}(?P<total>{INTEGER})"
TWO = re.compile(
    rf"\[\s{{0,8}}(?P<outer>{INTEGER})(?:\s?/\s{{0,8}}{INTEGER})?\s?\]\s{{0,4}}\[\s{{0,8}}{OF}"
)  # [0/25][10/1583], Epoch: [0][ 10/5005]
LABELLED = re.compile(  # timm: Train: 0 [  50/1251 (  4%)]
    rf"(?:Train|Test|Val|Valid|Eval)\w{{0,8}}:\s{{1,4}}(?P<outer>{INTEGER})\s\[\s{{0,8}}{OF}\s\(\s{{0,3}}\d{{1,3}}%\)\]"
)
PAIR = re.compile(rf"\[\s{{0,8}}(?P<outer>{INTEGER}),\s{{0,8}}(?P<done>{INTEGER})\]")  # [1,  2000] loss: 2.173
INDEX = re.compile(rf"\[\s{{0,8}}(?P<done>{INTEGER})\]:?\s|#?(?P<done2>{INTEGER})[:)]\s|#(?P<done3>{INTEGER})\s")
PIPED = re.compile(rf"(?P<outer>{INTEGER})\|(?P<done>{INTEGER})\|")  # torchtune: 1|20|Loss: 0.9
BRACKETED = re.compile(rf"\[\s{{0,8}}{OF}(?=\s?\]|\s?\()")
REVERSED = re.compile(
    rf"(?P<outer>{INTEGER})epoch:\w{{1,20}}:{INTEGER}-(?P<done>{INTEGER})batch"
)  # of ESPnet: 1epoch:train:101-200batch
OF_WHOLE_EPOCH = re.compile(
    rf"(?P<done>{INTEGER})\s?epoch(?:\s(?:results?|summary))?:\s", re.IGNORECASE
)  # 1epoch results: [train] loss=0.5
COUNTED = re.compile(
    rf"(?<![\d/.]){OF}\s(?:batch(?:es)?|(?:time)?steps?|it(?:er(?:ation)?)?s?|updates?)\b", re.IGNORECASE
)  # 50/ 167 batches
TIMED = re.compile(rf"\[\s{{0,8}}{OF}\s?\]\s{{1,4}}eta: ")  # whose rest is reckoned from the time of one
FIRST = re.compile(
    rf"[\s(]{{0,8}}{OF}(?=\)?:?\s(?!-\s\d)|\s?\|)"
)  # not 100/100 - 2s - loss: 0.3, of Keras at the end of an epoch
LEAD = re.compile(
    r"[\s*=\-#>|\[(<~.:]{0,40}(?:(?:learning|training|train|ppo|start(?:ing)?|begin|end of|finished|completed)\s){0,2}",
    re.IGNORECASE,
)
DIGITS_OR_HASH = ("#", *"0123456789")
LIVES = ("episode", "game", "trial")  # which have a length of their own
STEPS_OF_BARS = ("it", "step", "steps", "batch", "batches", "ba", "iter", "iters", "s", "epoch")
OTHER = "other"  # than a part of the data
AT_STEP = re.compile(r"\s(?:after|at|for|in|of|@)\s{0,3}$", re.IGNORECASE)
NO_VALUE = re.compile(  # behind a number: the bar of a percentage, other numbers, a unit
    r"%\||(?:\s{1,3}[-+]?\d{1,9}\.\d{1,9}){2}(?:\s|$)|\s(?:[mun]?s|secs?|seconds?|mins?|minutes?|h|hours?|[kKMGT]i?B|it/s|s/it)\b(?!\s?[:=]|\s\d)"
)
ASSIGNED = re.compile(r"\w=['\"]?[^\W\d]")  # task=detect: of a configuration
LETTERS = re.compile(r"[^\W\d_]{2,}")


class CounterKind(Enum):
    """How a line counts."""

    NAMED = "named"  # by a word: step 5
    UNNAMED = "unnamed"  # [640/12800], which may be steps or samples
    BAR = "bar"  # of a progress bar


class Progress(NamedTuple):
    """How far the training is, as one line says it."""

    outer: tuple[float, ...] = ()  # epoch, round, episode: the last is the innermost
    done: int | None = None  # steps, in the innermost of them
    total: int | None = None
    counter: str = ""  # what is counted, by `done` or by the last of `outer`: step, epoch
    kind: CounterKind = CounterKind.NAMED
    is_fraction: bool = False  # the innermost of `outer` is a part of an epoch: 0.25
    is_global: bool = False  # `done` does not begin again with an epoch
    is_of_items: bool = False  # `done` are images, tokens, bytes: a bar names its unit


class MetricLine(NamedTuple):
    """What one line says. `part` is the part of the data that the whole line is of: val, test, eval; train where it says so, else ""."""

    progress: Progress | None
    values: dict[str, float]
    part: str = ""
    is_sure: bool = False  # an object: its fields are no prose
    announces: bool = False  # begins with its counter
    is_table: bool = False  # all of it is metrics, once steps are known


class LineReader:
    """The lines of one file. What it remembers makes it quicker, and changes no result."""

    def __init__(self) -> None:
        self._shapes: dict[str, LineShape] = {}  # by a line in which each digit is 0
        self.idle: set[str] = set()  # lines, with zeros for their digits, that say nothing
        self._has_commas = False  # its numbers have decimal commas

    def read(self, text: str, key: str = "") -> MetricLine | None:
        """None for a line without a metric that does not begin with its step. 4 us for a line like one before, else 50 us.

        `key` is the line with zeros for its digits, for who has it already.
        """
        if "," in text and (plain := self._without_thousands(text)) is not text:
            text, key = plain, ""
        key = key or text.translate(ZEROS)
        shape = self._shapes.get(key)
        if shape is not None:
            return shape.read(text)
        if len(text) > MAX_CHARS or DIGIT.search(text) is None:
            return None
        if "{" in text and (found := read_object(text)) is not None:
            return found
        if not WANTED.search(text):
            return None
        raw = _LineParser(text).raw()
        if raw is None:
            return None
        shape = LineShape(raw)
        if len(text) <= MAX_SHAPE_CHARS:
            if len(self._shapes) >= MAX_SHAPES:
                self._shapes.clear()
            self._shapes[key] = shape
        return shape.read(text)

    def _without_thousands(self, text: str) -> str:
        """`step 1,000` -> `step 1_000`, which is as long, and which Python reads as a number; not in a file that writes 0.693 as `0,693`."""
        self._has_commas = self._has_commas or DECIMAL_COMMA.search(text) is not None
        if self._has_commas or THOUSANDS.search(text) is None:
            return text
        return THOUSANDS.sub(lambda found: found[0].replace(",", "_"), text)


Where = tuple[tuple[int, int], tuple[int, int] | None]
"""From and to which character a number is in its line; and the one that it is a share of."""


class ParsedLine(NamedTuple):
    """A line taken apart: where its numbers are, from and to which character."""

    outer: list[tuple[int, int]]
    done: tuple[int, int] | None
    total: tuple[int, int] | None
    progress: Progress | None  # of this very line
    values: dict[str, Where]
    part: str = ""
    announces: bool = False


class LineCounters(NamedTuple):
    """The counters of a line, and where it begins to count."""

    progress: Progress
    outer: list[tuple[int, int]]
    done: tuple[int, int] | None = None
    total: tuple[int, int] | None = None
    begins: int | None = None


class LineShape:
    """Lines that differ in their digits alone."""

    def __init__(self, raw: ParsedLine) -> None:
        self._progress = raw.progress
        self._outer = [slice(*where) for where in raw.outer]
        self._done = slice(*raw.done) if raw.done else None
        self._total = slice(*raw.total) if raw.total else None
        self._values = [(name, slice(*value)) for name, (value, _) in raw.values.items()]
        self._wholes = [(name, slice(*of)) for name, (_, of) in raw.values.items() if of]
        self._part, self._announces = raw.part, raw.announces

    def read(self, text: str) -> MetricLine:
        values = {name: float(text[where]) for name, where in self._values}
        for name, where in self._wholes:
            whole = float(text[where])
            values[name] = values[name] / whole if whole else 0.0
        progress = self._progress
        if progress is not None:
            outer = tuple([float(text[where]) for where in self._outer])
            done = None if self._done is None else int(text[self._done])
            total = None if self._total is None else int(text[self._total])
            progress = Progress(outer, done, total, *progress[3:])
        return MetricLine(progress, values, self._part, announces=self._announces)


class _LineParser:
    """One line, taken apart."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._taken: list[tuple[int, int]] = []  # what counters occupy
        self._part = ""
        self.begin = self._behind_prefix()  # where the line's own words begin
        self._bar = self._bar_of()

    def raw(self) -> ParsedLine | None:
        if OF_FILES.match(self._text, self.begin):
            return None
        if sentence := SENTENCE.match(self._text, self.begin):
            name = "_".join(sentence["name"].lower().split())
            return ParsedLine(
                [], None, None, None, {name: (sentence.span("value"), None)}, self._part or part_of(sentence[0])
            )
        count = self._counters()
        values, rest = self._fields()
        self._part = self._part or self._part_label(
            min((value[0] for value, _ in values.values()), default=len(self._text))
        )
        if self._part in ("", "train") and (found := PART_KEY.match(self._text, self.begin)):
            values = with_part(values, "train" if found[1].lower().startswith("train") else part_of(found[1]))
        if self._part == OTHER:
            values = {}
        elif not values and count is not None and count.progress.is_of_items:  # a download, a tokenizer
            return None
        if count is None:
            values = {name: where for name, where in values.items() if not is_of_past(name)}
        if count is None and not (values and self._is_all_said(values, rest)):
            return None
        announces = (
            count is not None
            and count.begins is not None
            and (self._bar is not None or self._is_at_start(count.begins))
        )
        if (not values and not announces) or (not announces and any(map(ASSIGNED.search, rest))):
            return None
        if count is None:
            return ParsedLine([], None, None, None, values, self._part, False)
        return ParsedLine(count.outer, count.done, count.total, count.progress, values, self._part, announces)

    def _behind_prefix(self) -> int:
        """Where its time, its level and its logger end."""
        at, is_logged = 0, False
        for _ in range(12):
            found = PREFIX.match(self._text, at) or (PREFIX_BEHIND.match(self._text, at) if is_logged else None)
            if found is None or found.end() == at:
                break
            is_logged = is_logged or bool(found[0].strip(" -|:>,"))
            label = found[0].strip(" []-|:>")
            self._part = self._part or (
                "train" if label.lower() in ("train", "training") else part_of(label) if label.isalpha() else ""
            )
            at = found.end()
        return at

    def _bar_of(self) -> re.Match[str] | None:
        text = self._text
        if "<" in text and (found := TQDM.search(text)):
            return found
        if " [" in text and (found := ENDLESS.search(text)):
            return found
        return DRAWN.match(text, self.begin) or LED.match(text, self.begin) or RICH.search(text, self.begin)

    def _counters(self) -> LineCounters | None:
        outers: list[re.Match[str]] = []
        inner: list[re.Match[str]] = []
        overall: list[re.Match[str]] = []
        for found in COUNTER.finditer(self._text, self.begin):
            before = self._text[self.begin : found.start()].rstrip(" _-'\"").rpartition(" ")[2].lower()
            level = level_of_word(found["word"])
            is_sum = found["word"].lower() == "epochs" and not found["total"]  # epochs=3
            if before not in NO_COUNTER_BEFORE and ("." not in found["done"] or level == "outer") and not is_sum:
                {"outer": outers, "inner": inner, "global": overall}[level].append(found)
        if any(_word(found) in LIVES for found in outers):
            inner = [found for found in inner if not found["word"].lower().endswith("s")]  # how long it was
        begins = min((found.start() for found in [*outers, *inner, *overall]), default=None)
        if chosen := [*overall, *inner][:1]:
            return self._named(outers, chosen[0], begins, is_global=bool(overall))
        if self._bar is not None:
            return self._of_bar(self._bar, outers)
        if (not outers or _word(outers[-1]) not in LIVES) and (count := self._unnamed(outers)) is not None:
            return count
        if len(outers) > 1 and "." not in outers[-1]["done"]:  # Fold 2, epoch 3
            return self._named(outers[:-1], outers[-1], begins)
        if not outers and (whole := OF_WHOLE_EPOCH.match(self._text, self.begin)):
            self._taken.append(whole.span())
            return LineCounters(Progress(counter="epoch"), [whole.span("done")], begins=whole.start())
        if not outers:
            return None
        last = outers[-1]
        self._taken.append(last.span())
        return LineCounters(
            Progress(counter=_word(last), is_fraction="." in last["done"]), [last.span("done")], begins=begins
        )

    def _named(
        self, outers: Sequence[re.Match[str]], inner: re.Match[str], begins: int | None, *, is_global: bool = False
    ) -> LineCounters:
        self._taken += [found.span() for found in [*outers, inner]]
        total = inner.span("total") if inner["total"] else None
        progress = Progress(counter=_word(inner), is_global=is_global)
        return LineCounters(progress, [found.span("done") for found in outers], inner.span("done"), total, begins)

    def _of_bar(self, bar: re.Match[str], outers: Sequence[re.Match[str]]) -> LineCounters:
        groups = bar.groupdict()
        start = bar.start("done")
        self._taken += [
            *(found.span() for found in outers),
            (start, bar.end("total") if groups.get("total") else bar.end()),
        ]
        title = self._text[self.begin : start]
        outer = [found.span("done") for found in outers if found.start() < start and "." not in found["done"]]
        if not outer and (found := PIPED.match(self._text, self.begin)):
            self._taken.append(found.span())
            return LineCounters(Progress(counter="step", is_global=True), [], found.span("done"), None, self.begin)
        if BAR_OF_OTHER.search(title):
            self._part = self._part or part_of(title) or OTHER
        is_of_items = (groups.get("unit") or "it").lower() not in STEPS_OF_BARS
        total = bar.span("total") if groups.get("total") else None
        name = "|" + " ".join(LETTERS.findall(title))[:80].lower()
        progress = Progress(counter=name, kind=CounterKind.BAR, is_of_items=is_of_items)
        return LineCounters(progress, outer, bar.span("done"), total, start)

    def _unnamed(self, outers: Sequence[re.Match[str]]) -> LineCounters | None:
        """A count that no word names."""
        text, at, kind = self._text, self.begin, CounterKind.NAMED
        if "/" not in text and "[" not in text and text[at : at + 1] not in DIGITS_OR_HASH:
            return None
        if (
            found := TWO.search(text, at)
            or COUNTED.search(text, at)
            or TIMED.search(text, at)
            or REVERSED.match(text, at)
        ):
            pass
        elif not outers and (found := LABELLED.match(text, at)):
            self._part = part_of(found[0].partition(":")[0])
        elif (not outers and (found := PAIR.match(text, at) or PIPED.match(text, at))) or (
            not outers and (found := INDEX.match(text, at))
        ):
            pass
        elif found := FIRST.match(text, at) or BRACKETED.search(text, at):
            kind = CounterKind.UNNAMED
        else:
            return None
        groups = found.groupdict()
        before = text[at : found.start()].rstrip(" :=").rpartition(" ")[2]
        self._part = self._part or part_of(before)
        outer = [found.span("outer")] if groups.get("outer") else [one.span("done") for one in outers]
        self._taken += [*(one.span() for one in outers), found.span()]
        done = next(found.span(name) for name in ("done", "done2", "done3") if groups.get(name))
        total = found.span("total") if groups.get("total") else None
        return LineCounters(Progress(counter="[]", kind=kind), outer, done, total, found.start())

    def _is_at_start(self, begins: int) -> bool:
        lead = LEAD.match(self._text, self.begin)
        return begins <= (lead.end() if lead else self.begin)

    def _fields(self) -> tuple[dict[str, Where], list[str]]:
        """The named numbers, and what is left of the line."""
        text, end = self._text, self.begin
        values: dict[str, Where] = {}
        rest: list[str] = []
        is_next, part, lead = False, "", ""
        of_training: list[str] = []  # fields behind `[train]`
        taken = sorted(self._taken)
        for found in VALUE.finditer(text, self.begin):
            where = found.span("value")
            while taken and taken[0][0] < where[1]:  # a counter stands before the number, or is it
                since, until = taken.pop(0)
                lead, end, is_next = text[end:since], max(end, until), True
                rest.append(lead)
            if where[0] < end:
                continue
            between, sep = text[end : found.start()], found["sep"]
            if lead and not between.strip(" :=") and (at := AT_STEP.search(lead)):  # FID after epoch 1: 71.78
                between, sep, rest = lead[: at.start()], ": ", rest[:-1]
            lead = ""
            if "[" in between or "|" in between or "(" in between:  # results: [train] loss=0.5, [valid] loss=0.6
                part = next((part_of(one[0]) or "train" for one in PART_INSIDE.finditer(between)), part)
            end = found.end()
            if NO_VALUE.match(text, where[1]):
                rest.append("")
                continue
            key, before = key_of(between, sep, text[where[1] - 1 : where[1] + 60], is_next=is_next)
            if key and found["of"] and not is_share(key):
                key = ""
            rest.append(before if key else between)
            is_next = bool(key)
            is_of_split = not is_of_whole(key) or (key in values and not is_of_optimizer(key))
            key = named(key, part) if key and is_of_split else key
            if key in values and is_measured(key) and part_of(front := [*values][-1].partition("_")[0]):
                key = f"{front}_{key}"  # Train Loss: 0.5 Acc: 0.8 Val Loss: 0.6 Acc: 0.7
            if key and key not in values and not is_no_metric(key):
                values[key] = where, (found.span("of") if found["of"] else None)
                if part == "train" and is_of_split:
                    of_training.append(key)
                if len(values) >= MAX_ON_A_LINE:
                    break
        if of_training and len(of_training) < len(values):  # results: [train] loss=0.5, [valid] loss=0.6
            values = {
                f"train_{key}" if key in of_training and "/" not in key else key: where for key, where in values.items()
            }
        return values, [*rest, text[end:]]

    def _part_label(self, values_at: int) -> str:
        """Of the line as a whole, before its first value: `Test set: ...`, `Epoch(val) ...`, `epoch 3 [val] ...`"""
        found = PART_FIRST.match(self._text, self.begin)
        if found is None and (inside := PART_INSIDE.search(self._text, max(self.begin - 1, 0))) is not None:
            found = inside if inside.start() < values_at else None
            found = None if PART_INSIDE.search(self._text, inside.end()) else found
        return part_of(found[0]) if found else "train" if TRAIN.match(self._text, self.begin) else ""

    def _is_all_said(self, values: Mapping[str, object], rest: Sequence[str]) -> bool:
        """Whether a line without a step is nothing but metrics."""
        words = [
            word
            for part in rest
            for word in LETTERS.findall(part)
            if not part_of(word) and word.lower() not in UNIT_BEHIND
        ]
        if any(map(ASSIGNED.search, rest)):
            return False
        begins = not rest or not LETTERS.search(rest[0])
        if begins and sum(map(is_measured, values)) > 1:
            return True
        return not words


def key_of(between: str, sep: str, behind: str = "", *, is_next: bool = False) -> tuple[str, str]:
    """The name of a number by what is in front of it, and the rest of that: `", val loss"` -> `("val_loss", ", ")`.

    "" where it has none: a word in prose, a path. `behind` begins with the number's last character; `is_next`: a counter or another
    field ends where `between` begins.
    """
    if not between.strip():
        return "", between
    said, unit = between.rstrip("\"' ").replace("Avg. ", "Avg ").replace("avg. ", "avg "), ""
    if said.endswith(")") and (found := UNIT.search(said)):
        said, unit = said[: found.start()], found[0] if found[0] not in ("(%)", " (%)") else ""
    start = max((found.end() for found in SEPARATOR.finditer(said)), default=0)
    is_strong = start > 0 and said[start - 1] in "|\t,; \u2502\u2503]"
    words = said[start:].split()
    if len(words) > 2 and words[-2] == "in" and words[-1] in UNIT_BEHIND:  # step_timing in s=0.4
        words = [*words[:-3], "_".join(words[-3:])]
    is_assigned = bool(sep.strip(" is'\""))
    while words and (words[0].lower() in STOP or not words[0][0].isalpha()) and len(words) > 1:
        start, words = start + len(words[0]), words[1:]
    for place in range(len(words) - 1, 0, -1):
        if words[place - 1].lower() in STOP:
            words = words[place:]
            break
    if not words:
        return "", between
    if is_assigned and sep == "=" and not ends_usually(words[-1]):
        words = words[-1:]
    if is_assigned and sep == "=" and ("_" in words[-1] or "/" in words[-1]):
        words = words[-1:]
    if len(words) > MAX_WORDS:
        words = words[-1:]
    if not is_assigned and not (ends_usually(" ".join(words)) and len(words) <= 3):
        is_field = (is_strong and len(words) <= 2) or (is_next and len(words) == 1)
        if not is_field or not FIELD_ENDS.match(behind):
            return "", between
    name = "_".join(words) + (unit if unit[:1] == "(" else unit.replace(" (", "_").replace(" ", "_").rstrip(")"))
    if not NAME.fullmatch(name) or ".." in name:
        return "", between
    return (name.lower() if ends_usually(name) and "/" not in name else name), said[
        : max(len(said) - len(" ".join(words)), 0)
    ]


NAME = re.compile(r"[^\W\d_][\w/@.\-+%^()']{0,79}|_[\w/@.\-+]{1,79}")
FIELD_ENDS = re.compile(
    r"\d(?:\s{0,9}(?:$|[,;|)\]}/\u2502\u2503(])|\s{1,9}[^\W\d][\w/.\-@]{0,40}\s{0,3}[:=]?\s{0,9}[-+.\d])"
)  # `lr 3 acc 5`, not `3 minutes`
UNIT = re.compile(
    r"\s?\((?:[\w/%]{1,20}|[a-z]{1,8} [a-z]{1,8}|\w{1,10}\(\w{1,10}\))\)$"
)  # of a name: elapsed time (ms); or the name's own: D(x)


def with_part(values: dict[str, Where], part: str) -> dict[str, Where]:
    """Results of a line whose first name alone says of which part they are: `val Loss: 0.35 Acc: 0.88`."""
    first, *others = [*values, ""]
    if not first.startswith(f"{part}_") or any(part_of(name) or "train" in name.lower() for name in others):
        return values
    return {f"{part}_{name}" if name != first and is_measured(name) else name: where for name, where in values.items()}


def named(name: str, part: str) -> str:
    """`("loss", "test") -> "test_loss"`; a name that says its part, is a path, or is of the optimizer stays."""
    if (
        part in (OTHER, "", "train")
        or "/" in name
        or is_of_optimizer(name)
        or any(part_of(word) or word == "train" for word in re.split(r"[_\W]+", name.lower()))
    ):
        return name
    return f"{part}_{name}"


def _word(found: re.Match[str]) -> str:
    """`Epochs -> epoch`"""
    word = found["word"].lower().replace(" ", "_")
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def read_object(text: str) -> MetricLine | None:
    """A line that is, or ends with, an object of JSON or Python, of which only numbers count: also quoted ones."""
    start = text.find("{")
    if not text.rstrip().endswith("}") or (start and LETTERS.search(text, _LineParser(text[:start]).begin, start)):
        return None
    flat = dict(_flat(_loads(text[start:])))
    roles = _roles(tuple(flat))
    if roles is None:
        return None
    values = {name: float(flat[name]) for name in roles.values}
    progress = None
    epoch = flat[roles.epoch] if roles.epoch else None
    counter, step = next((one for one in roles.steps if str(flat[one[1]]).isdecimal()), ("", ""))
    if step:
        outer = (float(epoch),) if counter in OF_EPOCH and epoch is not None else ()
        progress = Progress(outer, int(flat[step]), None, counter, is_global=not outer)
    elif epoch is not None:
        progress = Progress((float(epoch),), counter="epoch", is_fraction="." in str(epoch))
        if progress.is_fraction:
            values["epoch"] = progress.outer[0]
    if progress is None and not roles.is_measured:
        return None
    return MetricLine(progress, values, is_sure=True)


class ObjectRoles(NamedTuple):
    """What the fields of an object are for."""

    steps: list[tuple[str, str]]  # what it is called, and the field
    epoch: str
    values: list[str]
    is_measured: bool


@lru_cache(1024)
def _roles(names: tuple[str, ...]) -> ObjectRoles | None:
    named = {name.rpartition("/")[2].lower(): name for name in reversed(names)} | {name.lower(): name for name in names}
    steps = [(name, named[name]) for name in STEPS if name in named and name not in EPOCHS]
    epoch = next((named[name] for name in EPOCHS if name in named), "")
    values = [name for name in names if not is_no_metric(name)]
    return ObjectRoles(steps, epoch, values, any(map(is_measured, values))) if values else None


def _loads(text: str) -> object:
    for said in (text, text.replace("'", '"')):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(said.encode("utf-8", "replace"))
    text = AS_PYTHON.sub(lambda found: OF_PYTHON.get(found[0], found[0]), WRAPPED.sub(r"\1", text))
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return None


def _flat(value: object, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, float | str]]:
    """Its numbers: `{"train": {"loss": "0.5"}}` -> `("train/loss", "0.5")`"""
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        return
    for name, inside in itertools.islice(value.items(), MAX_ON_A_LINE):
        if isinstance(inside, list) and len(inside) == 1:
            inside = inside[0]
        if isinstance(inside, dict):
            yield from _flat(inside, f"{prefix}{name}/", depth + 1)
        elif isinstance(inside, (int, float)):
            if (not isinstance(inside, bool) and abs(inside) < MAX_VALUE) or isinstance(inside, float):
                yield f"{prefix}{name}", inside
        elif isinstance(inside, str) and ONLY_NUMBER.fullmatch(inside.strip()):
            yield f"{prefix}{name}", inside.strip()


MAX_VALUE = 1e300
OF_EPOCH = ("batch", "iter", "iteration", "it")  # a count that may begin again with each epoch
MAX_DEPTH = 4
WRAPPED = re.compile(
    r"(?:(?:np|numpy|torch|jnp)\.)?(?:tensor|float\d\d|array|int\d\d|Array)\(\s?([^(),]{1,40})(?:,[^()]{0,80})?\)"
)
AS_PYTHON = re.compile(r"'|\b(?:None|True|False|nan|inf)\b")
OF_PYTHON = {"'": '"', "None": "null", "True": "true", "False": "false", "nan": "NaN", "inf": "Infinity"}
ONLY_NUMBER = re.compile(NUMBER, re.IGNORECASE)


def beginning_of(text: str) -> tuple[str, str]:
    """The title and the count of a progress bar at its beginning: `Epoch 1:   0%|  | 0/16 [00:00<?, ?it/s] -> ("Epoch 1", "0/16")`; "" of others."""
    found = TQDM.search(text) if " 0/" in text and "<" in text else None
    return (text.partition(":")[0], f"0/{found['total']}") if found and found["done"] == "0" else ("", "")
