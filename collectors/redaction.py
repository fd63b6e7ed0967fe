"""Leave secrets out of command lines, variables and texts, by their name or their form.

`["train.py", "--api-key", "abc"] -> ["train.py", "--api-key", "<left out>"]`

Standard library only: the keeper of a run uses it, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

LEFT_OUT = "<left out>"
SECRET_WORDS = frozenset(
    [
        "password",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "secrets",
        "credential",
        "credentials",
        "auth",
        "authorization",
        "bearer",
        "jwt",
        "apikey",
        "accesskey",
        "secretkey",
        "privatekey",
        "sas",
        "cookie",
        "netrc",
        "pat",
    ]
)
KEY_OF = frozenset(
    [
        "api",
        "access",
        "secret",
        "private",
        "auth",
        "account",
        "encryption",
        "signing",
        "ssh",
        "license",
        "wandb",
        "openai",
        "hf",
        "aws",
        "azure",
        "gcp",
    ]
)
TOKEN_OF_TEXT = frozenset(  # `pad_token`, `max_token`, `token_id`: of a language model
    [
        "pad",
        "bos",
        "eos",
        "unk",
        "mask",
        "sep",
        "cls",
        "special",
        "image",
        "audio",
        "video",
        "start",
        "end",
        "max",
        "min",
        "num",
        "per",
        "n",
        "id",
        "ids",
        "type",
        "types",
        "idx",
        "index",
        "count",
        "len",
        "length",
        "dim",
        "size",
        "drop",
        "embed",
        "embedding",
        "emb",
        "level",
        "mixer",
        "mixing",
        "wise",
        "prediction",
        "classification",
    ]
)
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
OPTION = re.compile(r"(-{0,2}[+~]{0,2}[A-Za-z_][\w./-]*)([=:])(.*)", re.DOTALL)
URL_USER = re.compile(r"(?<=://)[^/\s:@\"']*+:[^/\s\"']*(?=@)")
FORMS = re.compile(
    r"\b(?:hf_|sk-|sk_|pk_live_|rk_live_|gh[pousr]_|github_pat_|glpat-|xox[abposr]-|npm_|pypi-|AIza|ya29\.|dapi|nvapi-|lsv2_|r8_|dckr_pat_|dsk_)"
    r"[\w.-]{16,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\beyJ[\w-]{8,500}\.[\w-]{8,}\.[\w-]*"
)
BEARER = re.compile(r"(\b(?:bearer|basic)\s+)[\w.+/=~-]{8,}", re.IGNORECASE)
PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
ASSIGNED = re.compile(  # a name, its annotation (`failed: password=abc` looks like one), and what stands between it and its value
    r"""(?<![\w.])(?<!\w-)([A-Za-z_][\w.-]*+)["']?\]?\)?(?:\s{0,8}:\s{0,8}([\w.|\[\] ]{1,40})(?==))?\s{0,8}(?::=|[=:]|,(?=\s{0,8}["']))\s{0,8}"""
)
SPACED = re.compile(
    r"""(?<![\w.-])(--?[A-Za-z_][\w.-]*+)(["']?,?\s{1,8}["']?)(?![-"']|<left out>)([^\s"',]+)"""
)  # an option and its value
VALUE = re.compile(r"""[rbf]{0,2}"[^"\n]*"|[rbf]{0,2}'[^'\n]*'|[^\s"'(){}\[\],;&]++""")
HINTS = re.compile("|".join(sorted([*SECRET_WORDS, "key", "pass", "token", "://", "basic", "private"])), re.IGNORECASE)
WHOLE = re.compile(r"[\w.]+")
CODE = re.compile(r"[A-Za-z_][\w.]*|\d{1,5}")  # names and small numbers: in a program no secrets themselves


def is_secret(name: str) -> bool:
    """`HF_TOKEN`, `--db-password`, `wandb_api_key`; not `max_tokens`, `pad_token`, `sort_key`."""
    words = [word.lower() for word in WORD.findall(name)]
    if not SECRET_WORDS.isdisjoint(words):
        return True
    if "key" in words or "keys" in words:
        return not KEY_OF.isdisjoint(words) or words in (["key"], ["keys"])
    return words[-1:] == ["pass"] or ("token" in words and TOKEN_OF_TEXT.isdisjoint(words))


def may_hold_a_secret(text: str) -> bool:
    """Whether `redacted` may find something: a look that costs a tenth of that, for texts of which nearly all hold none."""
    return HINTS.search(text) is not None or FORMS.search(text) is not None


def without_secrets(words: Iterable[str]) -> list[str]:
    """The words of a command line."""
    kept: list[str] = []
    hidden = False  # the word is the value of a secret option
    for word in words:
        option = OPTION.fullmatch(word)
        if hidden and not word.startswith("--"):
            kept.append(LEFT_OUT)
            hidden = False
        elif option and is_secret(option[1]):
            kept.append(f"{option[1]}{option[2]}{LEFT_OUT}")
            hidden = False
        else:
            kept.append(redacted(word))
            hidden = is_option(word) and is_secret(word)
    return kept


def is_option(word: str) -> bool:
    """`--lr`, `-p`; not `-3` nor `-`."""
    return re.fullmatch(r"--?[A-Za-z_][\w.-]*", word) is not None


def redacted(text: str, *, code: bool = False) -> str:
    """A text, with what is assigned to a secret name, or has the form of a secret, left out.

    Of what it returns it returns the same. `code` keeps names of variables: `token = tokens[i]`, `password = getpass()`.
    """
    text = PRIVATE_KEY.sub(rf"\1{LEFT_OUT}\2", text)
    text = URL_USER.sub(LEFT_OUT, text)
    text = BEARER.sub(rf"\1{LEFT_OUT}", text)
    text = FORMS.sub(LEFT_OUT, text)
    if not code:
        text = SPACED.sub(lambda found: f"{found[1]}{found[2]}{LEFT_OUT}" if is_secret(found[1]) else found[0], text)
    kept, done = [], 0
    for found in ASSIGNED.finditer(text):
        names = [found[1], *WHOLE.findall(found[2] or "")[-1:]]
        value = VALUE.match(text, found.end()) if found.start() >= done and any(map(is_secret, names)) else None
        if (
            value is not None
            and not text.startswith(LEFT_OUT, value.start())
            and LEFT_OUT not in value[0]
            and not (code and CODE.fullmatch(value[0]))
        ):
            kept += [text[done : found.end()], LEFT_OUT]
            done = value.end()
    return "".join([*kept, text[done:]])
