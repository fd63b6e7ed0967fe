"""The words by which text names steps, metrics and parts of the data."""

from __future__ import annotations

import re
from functools import lru_cache

import re2

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
