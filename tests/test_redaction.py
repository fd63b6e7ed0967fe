"""Secrets are left out, by their name or their form; what only looks a little like one stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.redaction import LEFT_OUT, is_secret, redacted, without_secrets

SECRET = "hunter2hunter2"
SECRET_NAMES = [
    "HF_TOKEN", "--db-password", "wandb_api_key", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "apiKey", "authToken", "DB_PASS", "token",
    "--key", "SLURM_JWT", "client.secret", "model.auth_token",
]  # fmt: skip
OPEN_NAMES = [
    "max_tokens", "pad_token", "sort_key", "num_token", "token_type_ids", "author", "pass_rate", "key_dim", "kv_key", "hidden",
    "key_padding_mask", "tokenizer", "monkey", "compass", "tokens_per_s",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_names_of_secrets_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", OPEN_NAMES)
def test_names_of_other_things_stay(name: str) -> None:
    assert not is_secret(name)


@pytest.mark.parametrize(
    "words",
    [
        ["--api-key", SECRET],
        [f"--api-key={SECRET}"],
        [f"hub.token={SECRET}"],
        ["--password", f"-{SECRET}"],
        [f"PASSWORD={SECRET} and more"],
        [f"https://me:{SECRET}@host/x"],
        [f"https://me:{SECRET}@{SECRET}@host/x"],
        [f"https://host/x?token={SECRET}&y=1"],
        ["-H", f"Authorization: Bearer {SECRET}"],
        [f'{{"api_key": "{SECRET}", "lr": 1}}'],
        ["--hf", f"hf_{SECRET}{SECRET}"],
        ["--cloud", f"AKIA{'A1' * 8}", SECRET[:0]],
        ["-c", f"login(token='{SECRET}')"],
        ["-c", f"os.environ['HF_TOKEN'] = '{SECRET}'"],
        ["-c", f"os.environ.setdefault('HF_TOKEN', '{SECRET}')"],
        [f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n{SECRET}"],
    ],
)
def test_a_command_line_loses_its_secrets_only(words: list[str]) -> None:
    kept = without_secrets(["train.py", "--lr", "3e-4", *words, "--steps", "7"])
    assert SECRET not in " ".join(kept) and "A1A1" not in " ".join(kept)
    assert LEFT_OUT in " ".join(kept)
    assert kept[:3] == ["train.py", "--lr", "3e-4"] and kept[-2:] == ["--steps", "7"]


@pytest.mark.parametrize(
    "line",
    [
        "token = tokens[i]",
        "password = getpass()",
        "foo(token=token)",
        "def f(token: str, n: int)",
        "key = jax.random.key(0)",
        "x = y",
    ],
)
def test_code_without_secrets_stays_as_it_is(line: str) -> None:
    assert redacted(line, code=True) == line


@pytest.mark.parametrize(
    "line", [f'TOKEN = "{SECRET}"', f'    token: str = "{SECRET}"', f'x = {{"password": "{SECRET}"}}', f"login(token='{SECRET}')"]
)
def test_code_loses_its_literals(line: str) -> None:
    assert SECRET not in redacted(line, code=True)


@pytest.mark.parametrize(
    "line", [f"api_key: {SECRET}", f"export HF_TOKEN={SECRET}", f"password = {SECRET}", f"[db]\npassword={SECRET}"]
)
def test_a_configuration_loses_every_value_of_a_secret_name(line: str) -> None:
    assert SECRET not in redacted(line)


@pytest.mark.parametrize("before", ["ValueError: ", "[rank0]: ", "cfg: bad ", "a: b: ", "12:00:01 INFO db: "])
@pytest.mark.parametrize("assigned", [f"password={SECRET}", f"HF_TOKEN = '{SECRET}'", f"my.api_key={SECRET}"])
def test_a_prefix_with_a_colon_hides_no_secret_name(before: str, assigned: str) -> None:
    assert SECRET not in redacted(before + assigned) and SECRET not in " ".join(without_secrets([before + assigned]))
    assert redacted(f"{before}max_tokens=5") == f"{before}max_tokens=5"


@given(st.sampled_from(SECRET_NAMES), st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=8))
def test_no_value_of_a_secret_option_is_ever_kept(name: str, value: str) -> None:
    option = f"--{name.lstrip('-')}"
    for words in ([f"{option}={value}"], [option, f"x{value}"]):
        assert without_secrets(["train.py", *words])[1:] in ([f"{option}={LEFT_OUT}"], [option, LEFT_OUT])


@given(st.lists(st.text(st.characters(codec="utf-8"))))
def test_any_command_line_keeps_its_number_of_words(words: list[str]) -> None:
    assert len(without_secrets(words)) == len(words)


@pytest.mark.parametrize(
    "part", ["a", "a.", "token ", "://:", "eyJaaaaaaaa-", "x='", "token=a", "a: b c ", "-----BEGIN PRIVATE KEY-----"]
)
def test_odd_texts_cost_time_in_proportion_to_their_length(part: str) -> None:
    def seconds(length: int) -> float:
        text = part * (length // len(part))
        begun_s = time.thread_time()
        redacted(text)
        return time.thread_time() - begun_s

    assert seconds(400_000) < 20 * max(seconds(50_000), 0.02)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("train.py --lr 3 --password=hunter7 --token tok_8 -v", "train.py --lr 3 --password=<left out> --token <left out> -v"),
        ('["--token", "tok_8"]', '["--token", "<left out>"]'),
        ("--max-tokens 100 --pad-token x", "--max-tokens 100 --pad-token x"),
        ("--token --lr 3", "--token --lr 3"),
    ],
)
def test_options_within_a_text_are_those_of_a_command_line(text: str, kept: str) -> None:
    assert redacted(text) == kept
