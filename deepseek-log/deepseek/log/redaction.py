"""Leave secrets out of command lines, variables and texts, by their name or their form.

`["train.py", "--api-key", "abc"] -> ["train.py", "--api-key", "<left out>"]`

RunLog and all processes of the dashboard use it. The time is proportional to the length of the text: what follows a name is looked at
once, patterns are bounded or anchored, and of a text that is too long or has too many names the rest is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

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
        "passcode",
        "otp",
        "totp",
        "csrf",
        "xsrf",
        "webhook",
        "keypass",
        "storepass",
        "dbpass",
        "smtppass",
        "userpass",
        "mnemonic",
        "sessionid",
        "jsessionid",
        "phpsessid",
        "psk",
    ]
)
GLUED = (
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "authtoken",
    "accesstoken",
    "oauthtoken",
    "secretkey",
    "accesskey",
    *("apitoken", "bearertoken", "refreshtoken", "sessiontoken", "idtoken", "usertoken", "bottoken", "middlewaretoken"),
    *("authkey", "masterkey", "privatekey", "signingkey", "encryptionkey", "licensekey"),
)
"""How a word ends that is a secret's, whatever stands before: PGPASSWORD, NGROK_AUTHTOKEN."""
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
        "client",
        "storage",
        "session",
        "subscription",
        "encrypt",
        "decrypt",
        "hmac",
        "vault",
        "kaggle",
        "anthropic",
        "sentry",
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
FOREIGN = (
    "密码", "密碼", "口令", "密钥", "密鑰", "令牌", "パスワード", "비밀번호", "암호", "пароль", "contraseña", "contrasena", "passwort", "kennwort",
    "senha", "mot de passe", "motdepasse", "wachtwoord", "hasło", "heslo", "lösenord", "salasana", "şifre", "parola", "पासवर्ड", "סיסמה",
)  # fmt: skip
CODES = frozenset(["verification", "recovery", "backup", "access", "security", "pin", "mfa", "login", "auth"])
PHRASES = frozenset(["seed", "recovery", "backup", "secret"])
TWO_WORDS = (*(f"{word} code" for word in CODES), *(f"{word} phrase" for word in PHRASES))  # whose name has a space
OF_SIGNATURE = frozenset(
    ["amz", "goog", "aws", "shared", "hub", "webhook"]
)  # whose signature is a key to what it signs
PASSWORDS = frozenset(
    ["password", "passwd", "passphrase", "passcode", "pwd", "secret", "pass"]
)  # of people, in sentences
NUMERIC = frozenset(["passcode", "otp", "totp"])  # of digits alone, often
SHORT_HINTS = ("pat", "sas", "sig", "pw", "otp", "psk", "sid")  # parts of many other words
HINTS = (
    "key", "token", "pass", "pwd", "secret", "credential", "auth", "bearer", "jwt", "cookie", "netrc", "signature", "csrf", "xsrf", "webhook",
    "mnemonic", "sessionid", "sessid", "_code", "_phrase", *TWO_WORDS, *FOREIGN,
)  # fmt: skip  # each secret name has one of them
PREFIXES = tuple(
    """
    hf_ api_org_ sk- sk_ pk_live_ rk_live_ rk_test_ whsec_ ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- gldt- glrt- glptt- glcbt- glsoat-
    xapp- xoxa- xoxb- xoxc- xoxd- xoxe- xoxo- xoxp- xoxr- xoxs- npm_ pypi- AIza GOCSPX- dapi nvapi- nvcf- lsv2_ r8_ dckr_pat_ dckr_oat_
    dsk_ gsk_ pplx- xai- pcsk_ shpat_ shpss_ shpca_ shppa_ glsa_ glc_ figd_ dop_v1_ doo_v1_ dor_v1_ ATATT ATCTT ATBB AGE-SECRET-KEY- tskey-
    lin_api_ ntn_ sbp_ sb_secret_ pscale_tkn_ pscale_pw_ pscale_oauth_ NRAK- NRII- sntrys_ sntryu_ HRKU- FlyV1 sq0atp- sq0csp- CFPAT- PMAK-
    rubygems_ bkua_ CCIPAT_ sgp_ tfp_ LTAI AKID rpa_ esecret_ wandb_v1_ KGAT_ EAACEdEose0cBA phc_ phx_ jina_ tvly- tgp_ fw_ key- secret_
    """.split()  # noqa: SIM905
)  # of tokens that services give out
PROGRAMS = {
    **dict.fromkeys(
        ("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mysqlcheck", "mariadb", "mariadb-dump"), "p"
    ),
    **dict.fromkeys(
        ("login", "sshpass", "mongo", "mongosh", "mongodump", "mongorestore", "7z", "7za", "htpasswd"), "p"
    ),
    **dict.fromkeys(("zip", "unzip", "sqlcmd", "mosquitto_pub", "mosquitto_sub", "ipmitool"), "P"),
    "redis-cli": "a",
    "ssh-keygen": "N",
    "ldapsearch": "w",
    "curl": "u",
    "smbclient": "U",
}  # and the letter of the option whose value is a password
LONG = {"curl": ("--user", "--proxy-user")}  # ... and such options by their long names
PLURAL = ("keys", "secrets", "tokens", "passwords", "credentials")
GLUED_ONLY = ("mysql", "mariadb")  # `-p NAME` is a database
PROGRAM_HINTS = tuple(sorted({name.rstrip("a") for name in PROGRAMS} - {"unzip", "mysqldump", "mosquitto_sub"}))
FORM_HINTS = (
    "eyj",
    "akia",
    "asia",
    "sg.",
    "ya29.",
    "hv",
    "dp.",
    "dt0c01.",
    ":aa",
    "$",
    "ls0t",
    "sha",
    "login ",
)  # of FORMS
NEEDLES = (
    *(
        "key",
        "token",
        "pass",
        "pwd",
        "secret",
        "credential",
        "auth",
        "bearer",
        "jwt",
        "cookie",
        "netrc",
        "signature",
        "srf",
        "hook",
        "sess",
    ),
    *(
        "mnemonic",
        "code",
        "phrase",
        "wort",
        "senha",
        "wacht",
        "heslo",
        "salas",
        "parola",
        "contras",
        "://",
        "private",
        "basic",
        "login",
    ),
    *(
        "@",
        "identified",
        "sqlplus",
        "32:",
        '"d"',
        "echo ",
        *("pin ", "pin=", "pin:", 'pin"', "pin'"),
        "--from-literal",
        "jdbc:oracle",
        *SHORT_HINTS,
        *FORM_HINTS,
        *PROGRAM_HINTS,
    ),
)
"""A text of ASCII letters with a secret has one of them, in lower case, or a long word."""
SHORT_TEXT = 128  # characters: a pattern of them all is faster, in a longer one `in` of each


def any_of(words: Iterable[str]) -> str:
    """A pattern of these words that looks at each letter once: `key`, `keys`, `kept` -> `ke(?:y(?:|s)|pt)`. The shortest is found."""
    by_letter: dict[str, list[str]] = {}
    for word in words:
        by_letter.setdefault(word[:1], []).append(word[1:])
    if "" in by_letter:
        return ""
    parts = [re.escape(letter) + any_of(rests) for letter, rests in by_letter.items()]
    return parts[0] if len(parts) == 1 else f"(?:{'|'.join(parts)})"


WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
SHORT = rf"(?:{'|'.join(SHORT_HINTS)})(?![a-z])"
HINTED = re.compile(any_of(NEEDLES))
NAMED = re.compile(f"{any_of(HINTS)}|{SHORT}")  # in lower case
NAME_OF_SECRET = re.compile(r"[A-Za-z_]\w{0,100}[_-]\w{1,100}")
NAME_GOES_ON = re.compile(r"[\w.-]*")
OPTION = re.compile(r"(-{0,2}[+~]{0,2}[A-Za-z_][\w./-]*)([=:])(.*)", re.DOTALL)
QUOTE = r"""(?:\\{0,20}["'`]|&quot;|&\#3[49];|%2[27]|[“”‘’])"""
TYPE = r"(?:[\w.]{0,40}\.)?(?:str|bytes|SecretStr|Any|Optional\[[\w.]{1,40}\])(?:\s\|\sNone)?"
ANSI = r"(?:(?:\x1b|\\{1,20}u001[bB])\[[0-9;]{0,20}m)"  # also as JSON writes it
ASSIGNED = r"""
    ANSI{0,4} QUOTE? \\{0,20} [])]{0,2} (?: [ ]? \( [^()\n]{1,40} \) (?= \s{0,4} [=:] ) )? (?: \s{0,8} : \s{0,8} TYPE \s{0,8} (?= =[^=] ) )? \s{0,30} ANSI{0,4}
    (?: , \s{0,8} QUOTE value QUOTE \s{0,8} : | (?<=["'\s]) value \s{0,8} [=:] | := | => | -> | → | ⇒ | == | [=:：＝] | \\{1,20}u[Ff]{2}1[AaDd] | %3[ADad] | [是为為]
      | [,(] (?= \s{0,8} [rbfu]{0,2} QUOTE ) )
    \s{0,8} (?: ANSI{1,4} \s{0,8} )? (?: [|>][+-]? [ ]{0,4} \n\s{0,40} | !\w{1,20}[ ]{1,4} )?
"""  # what stands between a secret's name and its value
ASSIGNED = ASSIGNED.replace("QUOTE", QUOTE).replace("ANSI", ANSI)
IN_TEXT = re.compile(ASSIGNED.replace("TYPE", TYPE), re.VERBOSE)
IN_CODE = re.compile(ASSIGNED.replace("TYPE", r"[\w.|\[\]\ ]{1,40}"), re.VERBOSE)
MAY_ASSIGN = re.compile(rf"{QUOTE}|\s{{0,30}}(?:[^\w\s]|[是为為]|value)")  # a quick look
COLOURED = re.compile(r"\d{1,3}m")  # the end of a colour, in front of a name
AFTER_OPTION = re.compile(r"""\\{0,20}["'`]?,?\s{1,8}(?!-|<left\ out>)""")  # `--token abc`, `"--token", "abc"`
IN_TAG = re.compile(r">([^<>\s]{1,400})(?=</)")  # `<password>abc</password>`
IN_SENTENCE = re.compile(  # `HF_TOKEN to abc`, `logged in with key abc`, `| password | abc |`
    rf"(?:{QUOTE})?(?:'s\s{{1,4}}|\s{{1,4}}(?P<verb>(?:is|was|to|as|with|value)(?:\s{{0,2}}:)?\s{{1,4}})?|\s{{0,8}}(?P<cell>[|│┃,])\s{{0,8}})"
    rf"(?P<quote>{QUOTE}|[(<\[])?(?P<word>[^\s\"'`,;()<>\[\]{{}}|│┃“”‘’\\]{{1,400}})"
)
FOR_WHOM = re.compile(  # `password for ada is hunter2`
    rf"\s{{1,4}}(?:for|of|on)(?:\s{{1,2}}[^\s:=]{{1,60}}){{1,4}}?(?P<verb>\s{{0,2}}[:=]|\s(?:is|was|to)(?=\s))\s{{1,4}}(?P<cell>(?!))?"
    rf"(?P<quote>{QUOTE})?(?P<word>[^\s\"'`,;()<>\[\]{{}}|│┃“”‘’\\]{{1,400}})"
)
OPENED = re.compile(rf"""(?:[rbfuRBFU]{{0,2}})(\"\"\"|'''|{QUOTE})""")
BRACKETS = {"[": "]", "{": "}", "(": ")"}
MAX_IN_BRACKETS = 2000  # characters
VALUE_IN_CODE = re.compile(r"""(?:<left out>|[^\s"'(){}\[\],;&])+""")
VALUE = re.compile(r"""(?:<left out>|[^\s"'`)}\],;&([{\\\x1b])(?:<left out>|[^\s"'`)}\],;&\\\x1b])*""")
PLAIN_VALUE = re.compile(r"none|null|true|false|nan", re.IGNORECASE)  # `hub_token=None`
MEASURED = re.compile(
    r"[+-]?\d{0,3}\.\d{1,20}(?:e[+-]?\d{1,3})?|[+-]?\d{1,2}e-\d{1,3}", re.IGNORECASE
)  # `token_loss=2.31`
REST_OF_LINE = re.compile(r"""[^"'`\n\\\x1b]{1,2000}""")
SCHEMES = frozenset(
    [
        "basic",
        "bearer",
        "token",
        "apikey",
        "api-key",
        "digest",
        "negotiate",
        "ntlm",
        "key",
        "jwt",
        "oauth",
        "aws4-hmac-sha256",
    ]
)
NEXT_WORD = re.compile(r"""[ \t]{1,8}(?:<left out>|[^\s"'`)}\],;&\\]{1,4000})""")
CODE = re.compile(r"[A-Za-z_][\w.]*|\d{1,5}")  # names and small numbers: in a program no secrets themselves
URL = re.compile(r"://([^\s\"'<>`\\]+)")
USER_ONLY = (
    "ssh",
    "sftp",
    "rsync",
    "hdfs",
    "abfs",
    "abfss",
    "wasb",
    "wasbs",
    "s3",
    "gs",
    "git",
)  # `ssh://git@host`: no secret
HOOK = re.compile(
    r"(?:^|[/.])(?:web)?hooks?(?:b2)?(?=[./])[^/]{0,200}/|/bot(?=\d+:)", re.IGNORECASE
)  # what follows is the secret
BARE_HOOK = re.compile(
    r"(\bhooks\.slack\.com/(?:services|workflows|triggers)/|\bdiscord(?:app)?\.com/api/(?:v\d{1,3}/)?webhooks/|\bapi\.telegram\.org/bot)"
    r"(?!<left out>)[^\s\"'<>`\\]+"
)
IN_QUERY = re.compile(
    r"([?&;#](?:sig|signature|code|ticket|id_token|sid|jwt|hmac|sess|session|assertion|saml(?:response|request|art))=)[^&#\s]+",
    re.IGNORECASE,
)
FORMS = re.compile(
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}\b|eyJ[\w-]{8,500}\.[\w-]{8,}\.[\w-]*|eyJ[\w+/-]{60,}=?=?|SG\.[\w-]{16,64}\.[\w-]{16,64}"
    r"|(?:ya29|hvs|hvb|hvr|dp\.(?:pt|st|sa|ct|scim|audit)|dt0c01)\.[\w.-]{16,}|\d{8,10}:AA[\w-]{33}\b|LS0tLS1CRUdJTi[\w+/]{16,}=?=?"
    r"|(?<=login )[\w-]{32,})"
    r"|\$(?:2[abxy]?|[156y7]|gy|apr1|argon2(?:id|i|d)|scrypt|pbkdf2[\w-]{0,12})\$[\w./+=,$-]{16,}|\{S?SHA\d{0,3}\}[\w+/]{16,}=?=?"
)
LONG_WORD = re.compile(r"(?<![\w-])[\w-]{19,}")
KEY_OF_40 = re.compile(r"(?<![\w/+=.-])[A-Za-z0-9/+]{40}(?![\w/+=.-])|(?<![\w/+=])[A-Za-z0-9/+]{86}==")
TAKEN_SO = [  # a word, in lower case, and what stands before the value where a program or a protocol takes it so
    (word, re.compile(rf"({before})(?!<left out>)[^\s\"'@\\]{{1,1000}}", re.IGNORECASE | re.MULTILINE))
    for word, before in (
        (
            "identified",
            r"""\bidentified\s{1,4}(?:with\s{1,4}["'\w]{1,40}\s{1,4})?(?:by|as)\s{1,4}(?:password\s{1,4})?["'](?=[^"'\n])""",
        ),
        ("sqlplus", r"""\bsqlplus\s{1,4}(?:-\w{1,2}\s{1,4})?\w{1,40}/(?=[^\s@"'/]{1,100}@)"""),
        ("jdbc:oracle", r"""\bjdbc:oracle:\w{1,10}:\w{1,40}/(?=[^\s@"'/]{1,100}@)"""),
        (
            "@",
            r""":(?<=[\w-]:)(?<!mailto:)(?=[^\s:@/"'<>]{3,100}@(?:(?:tcp|unix|udp)\(|[\w.-]{1,100}(?::\d{2,5}\b|/)))""",
        ),
        ("32:", r""":(?:5432|6432):[\w*.-]{1,60}:[\w*.-]{1,60}:(?=[^\s:]{3})"""),
        ('"d"', r""""d"\s{0,4}:\s{0,4}"(?=[\w-]{32})"""),
        ("login(", r"""\blogin\(\s{0,4}["'][^"'\n]{1,100}["']\s{0,4},\s{0,4}["']"""),
        ("auth ", r"""^[\s>$\#]{0,4}AUTH\s{1,2}(?=\S{3,100}\s{0,4}$)"""),
        ("pass ", r"""^[\s>$\#]{0,4}PASS\s{1,2}(?=\S{3,100}\s{0,4}$)"""),
        ("pin", r"""\bpin(?:\s{1,3}code)?["']?\s{0,4}(?:\bis\b|\bwas\b|[:=])?\s{0,4}["']?(?=\d{4,8}\b)"""),
        ("--from-literal", r"""--from-literal[=\s][\w.-]{1,100}="""),
        ("echo ", r"""\becho\s{1,4}["']?(?=[^\s"'|]{3,100}["']?\s{0,4}\|\s{0,4}(?:sudo\s|\w{1,20}\slogin\s))"""),
    )
]
BEARER = re.compile(r"(\b(?:bearer|basic)\s+)[\w.+/=~-]{8,}", re.IGNORECASE)
PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----).*?(-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    re.DOTALL,
)
INNER_LINE = re.compile(
    r"\s{0,40}(?=[^a-z]{0,70}[a-z])(?=[^A-Z]{0,70}[A-Z])(?=[^0-9]{0,70}[0-9])[A-Za-z0-9+/]{60,76}\s{0,4}"
)  # of such a key
PADDED_LINE = re.compile(
    r"\s{0,40}(?:[A-Za-z0-9+/]{4}){1,18}(?:[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)\s{0,4}"
)  # its last one, often
OF_SENTENCES = re.compile(  # `HF_TOKEN is missing`, `set HF_TOKEN to enable`, `password as input`
    r"""
    about|access|accepted|added|allow|already|always|another|argument|authenticate|available|avoid|because|being|bypass|cached
    |change|checked|configured|continue|correct|create|defined|deprecated|detected|different|disable|download|either|empty
    |enable|encrypted|ensure|environment|expired|failed|false|fetch|field|first|found|given|going|hashed|header|hidden|ignored
    |ignore|incorrect|increase|input|invalid|known|loaded|login|longer|masked|missing|needed|never|nothing|obsolete|optional
    |output|override|parameter|passed|placeholder|present|private|protected|provided|publish|receive|redacted|refresh|registered
    |rejected|removed|required|reset|restart|retrieve|revoked|right|saved|secret|shown|since|skipped|still|stored|string
    |suppress|there|their|these|unavailable|undefined|unknown|unset|unused|update|upload|usable|using|valid|value|variable
    |verified|verify|where|which|without|worked|would|wrong
    """,
    re.VERBOSE | re.IGNORECASE,
)
MAX_SIGNED = 100  # characters of a value by which it is judged whether it is one
MIN_JUDGED = 16  # of a value that is a secret if it looks like one
MAX_CHARACTERS = 1 << 16  # of a text that is searched
MAX_NAMES = 1000  # of names in a text that are looked at
MIN_SAID = 5  # characters of a secret in a sentence
MAX_SLASHES = 6  # of such a line; a path has more
PROGRAM = re.compile(
    rf"(?<![\w.-])(?P<name>{'|'.join(sorted(PROGRAMS, reverse=True))})(?:\.exe)?(?=[\s\"'\\])|(?P<end>[\n|;])"
    r"|(?<=[\s\"'\\])(?P<long>--[a-z]{2,12}(?:-[a-z]{2,12})?)(?P<gap>=|[\s\"'\\,]{1,12})(?!<left out>)(?P<of>[^\s\"'<\\,-][^\s\"'\\]*)"
    r"|(?<=[\s\"'\\])-(?P<letter>[pPauwUN])(?P<space>[\s\"'\\,]{0,12})(?!<left out>)(?P<value>[^\s\"'<\\,-][^\s\"'\\]*)"
)
WHAT_IS_MEANT = re.compile(r"[A-Za-z0-9_+/=~%@#$^&*!.-]+")
PARTS = re.compile(r"[_-]")
HEXADECIMAL = re.compile(r"(?:0x)?[0-9a-fA-F]+")
JUDGED = (
    "sig",
    "signature",
    "key",
    "sid",
    "sessid",
    "session_id",
)  # how names end whose value is a secret if it looks like one
SWITCH = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")


@lru_cache(4096)
def is_secret(name: str) -> bool:
    """`HF_TOKEN`, `--db-password`, `wandb_api_key`; not `max_tokens`, `pad_token`, `sort_key`."""
    words = [word.lower() for word in WORD.findall(name)]
    if not SECRET_WORDS.isdisjoint(words) or any(word.endswith(GLUED) for word in words) or "SSHPASS" in name:
        return True
    if "tokens" in words and not KEY_OF.isdisjoint(words):
        return True
    if ("key" in words or "keys" in words) and words[-1] not in ("bits", "size", "length", "type"):
        return not KEY_OF.isdisjoint(words) or words in (["key"], ["keys"])
    if "signature" in words:
        return not OF_SIGNATURE.isdisjoint(words)
    if ("code" in words and not CODES.isdisjoint(words)) or ("phrase" in words and not PHRASES.isdisjoint(words)):
        return True
    if words[-1:] in (["pass"], ["pw"]) or ("token" in words and TOKEN_OF_TEXT.isdisjoint(words)):
        return True
    return any(word in name.lower() for word in FOREIGN)


def may_hold_a_secret(text: str) -> bool:
    """Whether `redacted` may find something: a quick look, for texts of which nearly all hold nothing."""
    lower = text.lower()
    hinted = HINTED.search(lower) if len(text) < SHORT_TEXT else any(map(lower.__contains__, NEEDLES))
    if hinted or _has_token(text) or _is_of_a_key(text):
        return True
    return not text.isascii() and any(map(lower.__contains__, FOREIGN))


def without_secrets(words: Iterable[str]) -> list[str]:
    """The words of a command line."""
    kept: list[str] = []
    hidden = False  # the word is the value of a secret option
    long: tuple[str, ...] = ()  # options of the program whose values are passwords
    letter, is_glued, before = "", False, ""  # such an option of one letter
    for word in words:
        option = OPTION.fullmatch(word)
        if hidden and not word.startswith("--"):
            kept.append(LEFT_OUT)
            hidden = False
        elif before == "login" and _looks_random(word):
            kept.append(LEFT_OUT)
        elif option and _hides_its_value(option[1]):
            kept.append(f"{option[1]}{option[2]}{LEFT_OUT}")
            hidden = False
        elif word.partition("=")[0] in long:
            name, by, _ = word.partition("=")
            kept.append(f"{name}={LEFT_OUT}" if by else word)
            hidden = not by
        elif letter and word.startswith(f"-{letter}"):
            kept.append(f"-{letter}{LEFT_OUT}" if len(word) > len("-p") else word)
            hidden = word == f"-{letter}" and not is_glued
        else:
            kept.append(redacted(word))
            hidden = is_option(word) and _hides_its_value(word)
            if (program := word.rpartition("/")[2]) in PROGRAMS:
                letter, is_glued, long = PROGRAMS[program], program.startswith(GLUED_ONLY), LONG.get(program, ())
        before = word
    return kept


def _hides_its_value(option: str) -> bool:
    """Of a command line. `pin` alone is no name of a secret: elsewhere it is, where four to eight digits follow."""
    return is_secret(option) or option.lower() == "--pin"


def is_option(word: str) -> bool:
    """`--lr`, `-p`; not `-3` nor `-`."""
    return re.fullmatch(r"--?[A-Za-z_][\w.-]*", word) is not None


def redacted(text: str, *, code: bool = False) -> str:
    """A text, with what is assigned to a secret name, or has the form of a secret, left out.

    Of what it returns it returns the same. `code` keeps names of variables: `token = tokens[i]`, `password = getpass()`; otherwise what lies
    behind MAX_CHARACTERS or MAX_NAMES is left out.
    """
    if len(text) > MAX_CHARACTERS and not code:
        text = f"{text[: MAX_CHARACTERS - len(LEFT_OUT)]}{LEFT_OUT}"
    if not may_hold_a_secret(text):
        return text
    if not code and _is_of_a_key(text):
        return LEFT_OUT
    if "PRIVATE KEY" in text:
        text = PRIVATE_KEY.sub(rf"\1{LEFT_OUT}\2", text)
    text = _without_values(text, code)
    lower = text.lower()
    if "://" in lower:
        text = URL.sub(_url_without_secrets, text)
    if ".com/" in lower or ".org/" in lower:
        text = BARE_HOOK.sub(rf"\1{LEFT_OUT}", text)
    if "bearer" in lower or "basic" in lower:
        text = BEARER.sub(rf"\1{LEFT_OUT}", text)
    if any(map(lower.__contains__, FORM_HINTS)):
        text = FORMS.sub(LEFT_OUT, text)
    text = LONG_WORD.sub(lambda found: LEFT_OUT if _is_token(found[0]) else found[0], text)
    if code:
        return text
    text = KEY_OF_40.sub(lambda found: LEFT_OUT if _is_mixed(found[0]) else found[0], text)
    for word, pattern in TAKEN_SO:
        text = pattern.sub(rf"\1{LEFT_OUT}", text) if word in lower else text
    return _without_passwords(text) if any(map(lower.__contains__, PROGRAM_HINTS)) else text


def _without_values(text: str, code: bool) -> str:
    """Without the values of secret names. A name is found by what each secret name has in it; the text behind it is looked at once."""
    lower = text.lower()
    if len(lower) != len(text):  # a letter whose small one is two
        lower = "".join(small if len(small := letter.lower()) == 1 else letter for letter in text)
    kept: list[str] = []
    done = floor = 0  # what is kept already ends here; names begin behind there
    for number, hint in enumerate(NAMED.finditer(lower)):
        if hint.start() < floor:
            continue
        if number >= MAX_NAMES and not code:
            return "".join([*kept, text[done:floor], LEFT_OUT])
        start, end = hint.start(), hint.end()
        if hint[0].isascii():
            while start > floor and (text[start - 1].isalnum() or text[start - 1] in "_.-"):
                start -= 1
            if text[start - 1 : start] in ("[", ";") and (coloured := COLOURED.match(text, start)):
                start = min(coloured.end(), hint.start())
            match = NAME_GOES_ON.match(text, end)
            end = match.end() if match else end
        floor = end
        name = text[start:end]
        place = _value_after(text, start, end, name, code)
        if place is not None and place[0] < place[1] and not _is_left_out(text, *place):
            kept += [text[done : place[0]], LEFT_OUT]
            done = place[1]
        if place is not None:
            floor = max(floor, place[1])
    return "".join([*kept, text[done:]]) if kept else text


def _is_left_out(text: str, start: int, end: int) -> bool:
    return text[start:end].strip() == LEFT_OUT


def _value_after(text: str, start: int, end: int, name: str, code: bool) -> tuple[int, int] | None:
    """Where the value of a name stands; None where the name is no secret's, or has none."""
    bare = name.rstrip(".-")
    is_known = is_secret(bare)
    if not is_known and not bare.lower().endswith(JUDGED):
        return None
    if start > 0 and text[start - 1] == "<" and is_known and (tag := IN_TAG.match(text, end)):
        return tag.span(1)
    found = (IN_CODE if code else IN_TEXT).match(text, end) if MAY_ASSIGN.match(text, end) else None
    if found:
        by_colon = found[0].strip()[-1:] == ":"
        if not is_known:
            return _judged(text, found.end(), bare, by_colon, code, in_address=text[start - 1 : start] in ("?", "&"))
        place = _value_at(text, found.end(), bare, by_colon, code)
        names_it = bare.lower() == "key" and place is not None and NAME_OF_SECRET.fullmatch(text, *place)
        return (
            None if names_it and place is not None and is_secret(text[slice(*place)]) else place
        )  # `{"key": "HF_TOKEN", "value": "abc"}`: the value follows
    if code or not is_known:
        return None
    dashes = len(name) - len(name.lstrip("-"))
    if dashes in (1, 2) and (option := AFTER_OPTION.match(text, end)):
        return _quoted(text, option.end(), len(text)) or _span(re.compile(r"[^\s\"',\\]+").match(text, option.end()))
    for said in (IN_SENTENCE.match(text, end), bare.lower() != "pass" and FOR_WHOM.match(text, end)):
        if said and _is_said(bare, said):
            return said.start("word"), said.start("word") + len(said["word"].rstrip(".:!?"))
    return None


def _judged(text: str, at: int, name: str, by_colon: bool, code: bool, *, in_address: bool) -> tuple[int, int] | None:
    """Of a name that may be a secret's, `sig` or `cache_key`: where its value stands, if it looks like a secret."""
    place = _value_at(text, at, name, by_colon, code, MAX_SIGNED)
    if place is None or in_address:
        return place
    value = text[place[0] : min(place[1], place[0] + MAX_SIGNED)]
    is_short = len(value) < MIN_JUDGED and name.lower().endswith("key")
    return _value_at(text, at, name, by_colon, code) if _looks_random(value) and not is_short else None


def _value_at(
    text: str, at: int, name: str, by_colon: bool, code: bool, most: int | None = None
) -> tuple[int, int] | None:
    """At most `most` characters are looked at."""
    most = len(text) if most is None else most
    if (quoted := _quoted(text, at, most)) is not None:
        return quoted
    words = [word.lower() for word in WORD.findall(name)]
    close = BRACKETS.get(text[at : at + 1])
    if close is not None:
        end = text.find(close, at, at + MAX_IN_BRACKETS)
        inner = text[at + 1 : end if end >= 0 else at + MAX_IN_BRACKETS].partition("\n")[0]
        is_list = words not in (["key"], ["keys"]) and (
            '"' in inner or "'" in inner or _looks_random(inner.partition(",")[0])
        )
        return (at + 1, at + 1 + len(inner)) if is_list else None
    if code:
        place = _span(VALUE_IN_CODE.match(text, at, at + most))
        return None if place is None or CODE.fullmatch(text, *place) else place
    if (by_colon and words[-1:] in (["authorization"], ["cookie"])) or words[-1:] in (["mnemonic"], ["phrase"]):
        return _span(REST_OF_LINE.match(text, at))
    place = _span(VALUE.match(text, at, at + most))
    is_measure = words[-1:] and words[-1] not in PASSWORDS
    if place is not None and (PLAIN_VALUE.fullmatch(text, *place) or (is_measure and MEASURED.fullmatch(text, *place))):
        return None
    if place is not None and words[-1:] and words[-1] in PLURAL:
        while text[place[1] : place[1] + 1] == "," and (further := VALUE.match(text, place[1] + 1)):
            place = place[0], further.end()
    if place is not None and text[slice(*place)].lower() in SCHEMES and (word := NEXT_WORD.match(text, place[1])):
        return place[0], word.end()
    return place


def _quoted(text: str, at: int, most: int) -> tuple[int, int] | None:
    """What stands in quotes, without them; where they do not end, the rest of the line. None where there are none.

    Quotes within a string within a string have backslashes before them: those that end it have no more than those at its start.
    """
    opened = OPENED.match(text, at)
    if opened is None:
        return None
    mark = opened[1].lstrip("\\")
    depth = len(opened[1]) - len(mark)
    close = {"“": "”", "‘": "’"}.get(mark, mark)
    newline = -1 if len(mark) == len('"""') and mark[0] in "\"'" else text.find("\n", opened.end(), opened.end() + most)
    last = min(len(text) if newline < 0 else newline, opened.end() + most)
    end = text.find(close, opened.end(), last)
    while end >= 0:
        before = end
        while before > opened.end() and text[before - 1] == "\\":
            before -= 1
        if end - before <= depth:
            return opened.end(), before
        end = text.find(close, end + 1, last)
    return opened.end(), last


def _span(found: re.Match[str] | None) -> tuple[int, int] | None:
    return found.span() if found else None


def _is_said(name: str, said: re.Match[str]) -> bool:
    """Whether a sentence tells a secret: `password is hunter2`; not `password is wrong`, nor `missing key layer1.weight`."""
    word = said["word"].rstrip(".:!?")
    if len(word) < MIN_SAID:
        return False
    if _looks_random(word.rpartition(":")[2]):
        return True
    if said["cell"] == ",":
        return False
    parts = {part.lower() for part in WORD.findall(name)}
    if word.isdigit() and not NUMERIC.isdisjoint(parts):
        return True
    is_strong = (
        "_" in name
        or "-" in name.strip("-")
        or not PASSWORDS.isdisjoint(parts)
        or any(foreign in name.lower() for foreign in FOREIGN)
    )
    if not is_strong or WHAT_IS_MEANT.fullmatch(word) is None or not any(map(str.isalnum, word)):
        return not name.isascii() and any(map(str.isdigit, word))
    has_digit, has_letter = any(map(str.isdigit, word)), any(map(str.isalpha, word))
    if said["verb"] or said["cell"] or said["quote"]:
        is_word = OF_SENTENCES.fullmatch(word) is not None or (
            (said["verb"] or "").strip() in ("to", "as", "with") and not name.isupper()
        )
        return has_digit or not (is_word and word.isalpha())
    return has_digit and has_letter and len(word) >= 6


def _looks_random(word: str) -> bool:
    """`hunter2hunter2`, `9f86d081884c7d65`; not `layer10`, `conv1.weight`, `1234567890`."""
    if len(word) < 8 or not re.fullmatch(r"[A-Za-z0-9_+/=~%-]+", word) or word.count("/") > len(word) // 8:
        return False
    switches = len(SWITCH.findall(word[:100]))
    return switches >= 3 or (switches >= 2 and len(word) >= 16) or (switches >= 1 and len(word) >= 24)


def _has_token(text: str) -> bool:
    return any(_is_token(found[0]) for found in LONG_WORD.finditer(text))


def _is_token(word: str) -> bool:
    """`hf_...`, and any word with a part as random as that of a token; not `layer_norm_backward`, nor a hash in hexadecimal digits."""
    if word.startswith("_Z"):  # a function of C++
        return False
    word = word.lstrip("-")
    parts = PARTS.split(word[:MAX_SIGNED])
    if word.startswith(PREFIXES) and (len(parts[-1]) >= 16 or _is_mixed(word)):
        return True
    longest = max(parts, key=len)
    switches = len(SWITCH.findall(longest))
    if len(longest) >= 20 and switches >= 3 and _is_mixed(longest):
        return True
    return len(longest) >= 24 and switches >= 5 and HEXADECIMAL.fullmatch(longest) is None


def _is_mixed(word: str) -> bool:
    """Of small letters, large ones and digits."""
    return any(map(str.islower, word)) and any(map(str.isupper, word)) and any(map(str.isdigit, word))


def _is_of_a_key(text: str) -> bool:
    """Whether a text is one of the lines between the first and the last of a private key."""
    if len(text) > 120 or text.count("/") > MAX_SLASHES:
        return False
    return INNER_LINE.fullmatch(text) is not None or (
        text.rstrip().endswith("=") and PADDED_LINE.fullmatch(text) is not None
    )


def _url_without_secrets(found: re.Match[str]) -> str:
    """`://ada:abc@host/x -> ://<left out>@host/x`, `://hooks.slack.com/services/T/B/x -> ://hooks.slack.com/<left out>`"""
    head, slash, path = found[1].partition("/")
    user, at, host = head.rpartition("@")
    scheme = found.string[max(0, found.start() - 8) : found.start()].lower()
    if at and (":" in user or not scheme.endswith(USER_ONLY)):
        head = f"{LEFT_OUT}@{host}"
    rest = f"{slash}{path}"
    hook = HOOK.search(f"{host}{rest}")
    if hook is not None:
        where = hook.end() - len(host)
        return f"://{head}{rest[:where]}{LEFT_OUT}" if len(rest) > where else f"://{head}{rest}"
    return f"://{head}{IN_QUERY.sub(rf'{chr(92)}1{LEFT_OUT}', rest)}"


def _without_passwords(text: str) -> str:
    """`mysql -u ada -pabc -> mysql -u ada -p<left out>`, and of a list of words, `["mysql", "-pabc"]`."""
    name = ""

    def shown(found: re.Match[str]) -> str:
        nonlocal name
        if found["long"] is not None:
            return f"{found['long']}{found['gap']}{LEFT_OUT}" if found["long"] in LONG.get(name, ()) else found[0]
        if found["letter"] is None:
            name = found["name"] or ""
        elif found["letter"] == PROGRAMS.get(name) and not (found["space"] and name.startswith(GLUED_ONLY)):
            return f"-{found['letter']}{found['space']}{LEFT_OUT}"
        return found[0]

    return PROGRAM.sub(shown, text)
