"""Secrets are left out, by their name or their form; what only looks a little like one stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepseek.log.redaction import LEFT_OUT, is_secret, redacted, without_secrets
from tests.support.cost import times
from tests.support.secret_forms import SecretForm, secret_forms

INNOCENT = Path(__file__).parents[1] / "data" / "innocent.txt"
SECRET = "hunter2hunter2"
ANY_WORD = re.compile(r"\w+|\W")
PROSE = "step 100: loss=0.123 lr=1e-3 reading batch 3 of 400 in 0.3 s\n" * 4000  # a quarter of a megabyte
SECRET_NAMES = [
    "HF_TOKEN", "--db-password", "wandb_api_key", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "apiKey", "authToken", "DB_PASS", "token",
    "--key", "SLURM_JWT", "client.secret", "model.auth_token", "PGPASSWORD", "NGROK_AUTHTOKEN", "SSHPASS", "--dbpassword", "clientsecret",
    "API_KEYS", "HF_TOKENS",
]  # fmt: skip
OPEN_NAMES = [
    "max_tokens", "pad_token", "sort_key", "num_token", "token_type_ids", "author", "pass_rate", "key_dim", "kv_key", "hidden",
    "key_padding_mask", "tokenizer", "monkey", "compass", "tokens_per_s", "bypass", "image_tokens", "total_tokens", "tokens", "storage",
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
        ["curl", "--user", f"ada:{SECRET}"],
        ["sh", "-c", f"curl --proxy-user ada:{SECRET} http://host"],
        [f"API_KEYS=abc,{SECRET},{SECRET}"],
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
    "line",
    [
        f'TOKEN = "{SECRET}"',
        f'    token: str = "{SECRET}"',
        f'x = {{"password": "{SECRET}"}}',
        f"login(token='{SECRET}')",
    ],
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


HOSTILE = [
    "a", "key ", "key=", "token=x ", "://", "http://a:b@", "eyJ", "eyJaaaaaaaa-", "password is ", 'password="', "password=\\", "password=[",
    "-----BEGIN PRIVATE KEY-----", "mysql -p", "curl -u", "bearer ", "sig=", "=sig", "key_", "A1b2", "aB3-", "password for ", "identified by '",
    "x:y@", "$2$", '"d":"', "login('a','", "token: a\n", "1:AA", "--key ", "key=\x1b[1m", "密码", "İkey=", "://:", "x='", "a: b c ", "a.",
]  # fmt: skip


@pytest.mark.parametrize("part", HOSTILE)
def test_a_hostile_text_costs_half_of_what_it_takes_to_part_it_into_words(part: str) -> None:
    """At most 50 ms a megabyte where the words take 100."""
    text = (part * (1_000_000 // len(part) + 1))[:1_000_000]
    assert times(lambda: redacted(text), lambda: ANY_WORD.findall(PROSE)) < 2, "four times the prose"


@pytest.mark.parametrize(
    "part", [each for each in HOSTILE if each in ("a", "key ", "sig=", "=sig", "x='", "password=[", "aB3-", '"d":"')]
)
def test_a_hostile_program_costs_time_in_proportion_to_its_length(part: str) -> None:
    long, short = (part * (length // len(part)) for length in (160_000, 20_000))
    assert times(lambda: redacted(long, code=True), lambda: redacted(short, code=True)) < 20, "8 is in proportion"


def test_what_is_not_searched_is_left_out() -> None:
    assert redacted("a b " * 20_000).endswith(LEFT_OUT) and redacted("a b " * 10_000) == "a b " * 10_000
    names = redacted("key " * 5000 + "HF_TOKEN=abc")
    assert names.endswith(LEFT_OUT) and "abc" not in names


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (
            "train.py --lr 3 --password=hunter7 --token tok_8 -v",
            "train.py --lr 3 --password=<left out> --token <left out> -v",
        ),
        ('["--token", "tok_8"]', '["--token", "<left out>"]'),
        ("--max-tokens 100 --pad-token x", "--max-tokens 100 --pad-token x"),
        ("--token --lr 3", "--token --lr 3"),
    ],
)
def test_options_within_a_text_are_those_of_a_command_line(text: str, kept: str) -> None:
    assert redacted(text) == kept


FORMS = [  # besides those of data/secrets.tsv; {} is the secret
    "redis://:{}@host/0",
    r'{{"a": "{{\"b\": \"{{\\\"password\\\": \\\"{}\\\"}}\"}}"}}',
    "Authorization: Digest realm={0}, response={0}",
    'curl -H "Authorization: Token {}" https://host/',
    "authorization=ApiKey {}",
    "token: Bearer {}",
    "Cookie: a=1; session={0}; b={0}",
    "WANDB_API_KEY is {}.",
    "Using token {}",
    "password {}",
    "the password was {}",
    "API key ({})",
    "token `{}`",
    "host.blob.core.windows.net/c?sv=2024&sig={}",
    "hooks.slack.com/services/T00/B00/{}",
    "https://discord.com/api/webhooks/123/{}",
    "https://api.telegram.org/bot123456:{}/sendMessage",
    "https://me.webhook.office.com/webhookb2/{}/IncomingWebhook",
    "https://open.feishu.cn/open-apis/bot/v2/hook/{}",
    "sh -c 'mysqldump -u root -p{} db | gzip'",
    "sshpass -p {} ssh host",
    '["mysql", "-u", "root", "-p{}"]',
    '["sshpass", "-p", "{}", "ssh"]',
    r'{{"words": "[\"mysql\", \"-p{}\"]"}}',
    "curl -u ada:{} https://host",
    "redis-cli -a {} ping",
    "docker login -u ada -p {} registry",
    "密码：{}",
    "数据库密码是{}",
    "password => {}",
    "password -> {}",
    "| password | {} |",
    "│ HF_TOKEN │ {} │",
    "<password>{}</password>",
    '{{"name": "HF_TOKEN", "value": "{}"}}',
    '{{"key": "HF_TOKEN", "value": "{}"}}',
    r'{{"msg": "password\uff1a{}"}}',
    r'{{"msg": "\u001b[36mpassword\u001b[0m=\u001b[35m{}\u001b[0m"}}',
    '<input name="password" value="{}">',
    "api_key%3D{}",
    "%22password%22%3A%22{}%22",
    "&quot;password&quot;: &quot;{}&quot;",
    "api_keys=['{0}', '{0}']",
    '"credentials": {{"user": "x", "value": "{}"}}',
    'password="abc {}',
    r'password="a\"b{}"',
    "password=Xy(9{}",
    "password=({})",
    "login password: {} user=3",
    "set_token('{}')",
    "Password={};Server=db",
    "\x1b[36mpassword\x1b[0m=\x1b[35m{}\x1b[0m",
    "\x1b[1mHF_TOKEN\x1b[0m: {}",
    "export HF_TOKEN={}",
    "setenv HF_TOKEN {}",
    "pw={}",
    "password is: {}",
    "the password for ada is {}",
    "password for user ada: {}",
    "my password's {}",
    "password → {}",
    "Password          : {}",
    "password: |\n  {}",
    "HF_TOKEN: !secret {}",
    "Mot de passe : {}",
    "Passwort: {}",
    "verification code: {}",
    "seed phrase: apple {} banana",
    "RAILS_MASTER_KEY={0}{0}",
    '"routing_key": "{0}{0}"',
    "CREATE USER ada IDENTIFIED BY '{}'",
    "jdbc:oracle:thin:scott/{}@//host:1521/x",
    "ada:{}@tcp(127.0.0.1:3306)/db",
    "ada:{}@db.host:5432/db",
    "db.host:5432:mydb:ada:{}",
    'smtp.login("ada", "{}")',
    "https://host/#id_token={}&state=1",
    "kubectl create secret generic x --from-literal=k={}",
    "ssh-keygen -N {} -f key",
    "api_key,{}",
    "name: HF_TOKEN\n  value: {}",
    "csrfmiddlewaretoken={}",
    "PHPSESSID={0}{0}",
    '{{"kty": "RSA", "d": "{0}{0}{0}"}}',
]
TOKEN = "Zq7Kx9Wb3Lm5Vt8Rn2Yc4Hd6"  # as a service makes one up
TOKENS = [
    f"sk-proj-{TOKEN}", f"lin_api_{TOKEN}", f"hvs.{TOKEN}", f"tskey-auth-{TOKEN}", f"unheard_of-{TOKEN}", f"hf_{'abcdefgh' * 4}", TOKEN * 2,
    f"$2b$12${TOKEN}{TOKEN}", f"{{SSHA}}{TOKEN}==", f"LS0tLS1CRUdJTiB{TOKEN}", f"eyJhcGlfYWRkcmVzcyI6{TOKEN}{TOKEN}", f"ya29.{TOKEN}",
    "wJalrXUtnFEMIK7MDENGbPxRfiCYzq7EXAMP9KEY",
]  # fmt: skip


@pytest.mark.parametrize("form", secret_forms(), ids=lambda form: form.form)
def test_a_text_loses_the_secret_of_each_form_of_the_table(form: SecretForm) -> None:
    once = redacted(form.example)
    assert form.hidden not in once and LEFT_OUT in once and redacted(once) == once
    assert form.hidden not in " ".join(without_secrets(["train.py", form.example]))


@pytest.mark.parametrize("text", INNOCENT.read_text(encoding="utf-8").splitlines())
def test_a_text_that_only_looks_as_if_it_held_a_secret_stays(text: str) -> None:
    """`data/innocent.txt`, written by somebody who had not seen the patterns."""
    assert redacted(text) == text


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("around", ["{}", "uses {}", "https://host/{}/x", "--x={}", '["{}"]', "({}).", "a:{},b"])
def test_a_token_is_known_by_its_form(token: str, around: str) -> None:
    once = redacted(around.format(token))
    assert token not in once and redacted(once) == once


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("around", ["{}", "12:00:01 INFO db: {} (attempt 3)", "[rank0]: {}", "Ünïcode İ \U0001f600 {}"])
def test_a_text_loses_secrets_of_each_form(form: str, around: str) -> None:
    text = around.format(form.format("zq7Walnut9xKv"))
    once = redacted(text)
    assert "zq7Walnut9xKv" not in once and LEFT_OUT in once
    assert redacted(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "Missing key encoder.layer.0.attention.weight in state_dict",
        "Missing keys: ['a.b', 'c.d']",
        "unexpected key module.conv1.weight",
        "using key layer10",
        "HF_TOKEN is not set",
        "Please set a HF_TOKEN to enable higher rate limits",
        "password is required",
        "password must be 8 characters",
        "token is invalid",
        "token 50256",
        "signature: serving_default",
        "sig=0.05",
        "the secret to success is patience",
        "ssh://git@github.com/a/b",
        "s3://bucket@region/a",
        "https://github.com/pre-commit/pre-commit-hooks/blob/main/a.py",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "meta-llama/Llama-3.1-8B-Instruct",
        "/mnt/nfs/Datasets/ImageNet2012/train/Class00000001/PartA/x/y/z/w",
        "docker run -p 8080:80 image",
        "psql -p 5432 host",
        "compat=1 pattern=abc path=/x",
        "1it [00:00, 3.2it/s, loss=0.3]",
        "step 100: loss=0.25 tokens_per_s=123 lr=1e-4",
        "_ZN2at6native29vectorized_elementwise_kernelILi4ENS0_13AUnaryFunctorIfffNS0_16BitwiseXorFunctorE",
        "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas",
        "GPU-6f1c2f5e-7d0a-4b9b-8f3e-2d1c0b9a8f7e",
        "events.out.tfevents.1764000000.host.123.0",
        "sk-learn-style-estimators are slow",
        "key-value-memory-networks",
        "Qwen2.5-Coder-32B-Instruct-GPTQ-Int4",
        "offline-run-20261125_213701-jg24uplj",
        "a backward pass on the CPU is computing",
        "pin_memory=True session=3 code=0",
        "at 12:00:01 ada@host:/x is full",
        "actions/checkout@v4 and org/model@main",
        "cache_key=encoder layer_key: attention",
    ],
)
def test_a_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


def test_each_line_of_a_private_key_is_left_out_by_itself() -> None:
    key = (
        "-----BEGIN PRIVATE KEY-----\n"
        "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
        "MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n"
        "Cw6KrQ9tF4yGcQ==\n"
        "-----END PRIVATE KEY-----"
    ).splitlines()
    shown = [redacted(line) for line in key]
    assert not [line for line in key[1:-1] if any(line in each for each in shown)]
    assert [redacted(line) for line in shown] == shown


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["mysql", "-u", "root", f"-p{SECRET}", "db"], ["mysql", "-u", "root", f"-p{LEFT_OUT}", "db"]),
        (["/usr/bin/sshpass", "-p", SECRET, "ssh"], ["/usr/bin/sshpass", "-p", LEFT_OUT, "ssh"]),
        (["curl", "-u", f"ada:{SECRET}", "https://host"], ["curl", "-u", LEFT_OUT, "https://host"]),
        (["python", "-p", "5", "-u", "a"], ["python", "-p", "5", "-u", "a"]),
    ],
)
def test_a_programs_own_option_for_a_password_is_known(words: list[str], kept: list[str]) -> None:
    assert without_secrets(words) == kept
