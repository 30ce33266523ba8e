"""Detectors of secrets: the token formats of detect-secrets, and those that it does not know.

Invariant: a detector is data. Its hints are literals of which a text holds one wherever its pattern matches: only texts
with a hint meet the pattern. What only looks like a secret (words, placeholders, variables) is refused by ``accepts``.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from codeft_assets.curation.corpus.lookalikes import is_key, is_password, is_public_address, is_public_mail, is_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One kind of secret."""

    kind: str
    pattern: re.Pattern[str]
    """The group ``secret`` is replaced, the whole match where there is none."""
    hints: tuple[str, ...]
    """Lower-case literals; a text without any of them has no match."""
    accepts: Callable[[re.Match[str]], bool] | None = None
    """Whether a match is a secret; None accepts every match."""

    @property
    def placeholder(self) -> str:
        """The text that replaces the secret."""
        return f"<{self.kind.upper()}>"


_KEY = r"(?:secret|token|api[_\-. ]?key|(?:access|auth|private|account|client)[_-]?key|credentials?)"
_PASSES = r"(?:passw(?:or)?d|passphrase|_pass|pwd)"
_ASSIGNED = r"\w{0,20}[\"'`]?\]?\)?\s{0,3}(?::\s?\w{1,12}\s?=|:=|=>|[:=,]|==)\s{0,3}[rbuf]?@?"
_TOKENS = (
    r"sk-ant-[\w-]{24,}|sk-proj-[\w-]{24,}|sk-or-v1-[a-f0-9]{32,}|AIza[\w-]{35}|GOCSPX-[\w-]{28}|ya29\.[\w-]{24,}|"
    r"hf_[A-Za-z0-9]{34}|gsk_[A-Za-z0-9]{40,}|xai-[A-Za-z0-9]{40,}|pplx-[a-f0-9]{40,}|r8_[A-Za-z0-9]{37}|nvapi-[\w-]{40,}|"
    r"do[opr]_v1_[a-f0-9]{64}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|xapp-\d-[A-Z0-9]+-\d+-[a-z0-9]{32,}|"
    r"xoxe[.-][\w.-]{20,}|sq0atp-[\w-]{22}|EAAA[\w-]{56,}|key-[a-f0-9]{32}|dckr_pat_[\w-]{27}|lin_api_[A-Za-z0-9]{40}|"
    r"ntn_[A-Za-z0-9]{40,}|secret_[A-Za-z0-9]{43}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}|ATATT3[\w=-]{60,}|figd_[\w-]{38,}|"
    r"sntry[su]_[\w=+/-]{40,}|dapi[a-f0-9]{32}|rubygems_[a-f0-9]{48}|xkeysib-[a-f0-9]{64}-\w{16}|dp\.pt\.[A-Za-z0-9]{40,}|"
    r"hvs\.[\w-]{24,}|[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{60,}|pscale_(?:tkn|pw|oauth)_[\w.-]{32,}|NRAK-[A-Z0-9]{27}|"
    r"gl(?:sa|c)_[\w=+/-]{32,}|sbp_[a-f0-9]{40}|nfp_[A-Za-z0-9]{36}|aio_[A-Za-z0-9]{28}|pat[A-Za-z0-9]{14}\.[a-f0-9]{64}|"
    r"glpat-[\w-]{20,}|npm_[A-Za-z0-9]{36}|[sr]k_(?:live|test)_\w{24,}|"
    r"whsec_[A-Za-z0-9+/=]{32,}|AGE-SECRET-KEY-1[A-Z0-9]{58}|tskey-[a-z]+-\w{11,}-\w{32,}|(?:vercel|CFPAT)[_-]\w{24,}"
)
_TOKEN_HINTS = tuple(
    [
        "sk-ant-",
        "sk-proj-",
        "sk-or-v1-",
        "aiza",
        "gocspx-",
        "ya29.",
        "hf_",
        "gsk_",
        "xai-",
        "pplx-",
        "r8_",
        "nvapi-",
        "do_v1_",
        "doo_v1_",
        "dop_v1_",
        "dor_v1_",
        "shpat_",
        "shpca_",
        "shppa_",
        "shpss_",
        "xapp-",
        "xoxe",
        "sq0atp-",
        "eaaa",
        "key-",
        "dckr_pat_",
        "lin_api_",
        "ntn_",
        "secret_",
        "pmak-",
        "atatt3",
        "figd_",
        "sntrys_",
        "sntryu_",
        "dapi",
        "rubygems_",
        "xkeysib-",
        "dp.pt.",
        "hvs.",
        ".atlasv1.",
        "pscale_",
        "nrak-",
        "glsa_",
        "glc_",
        "sbp_",
        "nfp_",
        "aio_",
        "pat",
        "glpat-",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "npm_",
        "k_live_",
        "k_test_",
        "whsec_",
        "age-secret-key-",
        "tskey-",
        "vercel",
        "cfpat",
    ]
)
_KEY_WORDS = ("secret", "token", "key", "credential")
_PASS_WORDS = ("passw", "passphrase", "_pass", "pwd")


def _named(kind: str, pattern: str, hints: tuple[str, ...], accepts: Callable[[re.Match[str]], bool]) -> Detector:
    return Detector(kind=kind, pattern=re.compile(pattern, re.ASCII), hints=hints, accepts=accepts)


def _begin(kind: str) -> str:
    return rf"-----BEGIN {kind}-----[\s\S]{{20,8000}}?-----END {kind}-----"


BLOCK_DETECTORS: tuple[Detector, ...] = (
    Detector(  # RFC 7468; RFC 4880
        kind="private_key",
        pattern=re.compile(_begin(r"(?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?")),
        hints=("private key",),
    ),
    Detector(
        kind="private_key",
        pattern=re.compile(r"PuTTY-User-Key-File-[23]:[\s\S]{40,8000}?Private-MAC: ?[0-9a-f]+"),
        hints=("putty-user-key-file",),
    ),
)
"""What takes several lines."""
_OWN_DETECTORS: tuple[Detector, ...] = (
    Detector(  # RFC 7519; detect-secrets' pattern ends at an underscore
        kind="jwt",
        pattern=re.compile(r"(?<![\w-])eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
        hints=("eyj",),
    ),
    Detector(
        kind="github_token",
        pattern=re.compile(r"(?<![\w-])(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255})"),
        hints=("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    Detector(kind="token", pattern=re.compile(rf"(?<![\w-])(?:{_TOKENS})"), hints=_TOKEN_HINTS, accepts=is_key),
    _named(
        "secret",
        rf"(?i:{_KEY}){_ASSIGNED}(?:[\"'`](?P<secret>[^\s\"'`<>{{}}()\\]{{16,200}})[\"'`])",
        _KEY_WORDS,
        is_key,
    ),
    _named(
        "secret",
        rf"(?i:^[ \t]*(?:export |set |- )?\w{{0,30}}{_KEY}\w{{0,20}})[ \t]?[:=][ \t]?"
        r"(?P<secret>[\w+/=.~-]{16,200})[ \t\r]*$",
        _KEY_WORDS,
        lambda match: is_key(match) and not re.search(r"[a-z]\.[a-z]|^[A-Za-z_]+\.|==", match["secret"]),
    ),
    _named(
        "password",
        rf"(?i:{_PASSES}){_ASSIGNED}[\"'`](?P<secret>[^\s\"'`\\]{{6,64}})[\"'`]",
        _PASS_WORDS,
        is_password,
    ),
    _named(
        "password",
        r"(?m:^(?:export )?[A-Z][A-Z0-9_]*(?:PASSWORD|PASSWD|PASS|PWD)=(?P<secret>[^\s\"'`()\[\]]{6,64})\r?$)",
        _PASS_WORDS,
        is_password,
    ),
    _named(
        "secret",
        r"(?i:authorization|x-[a-z-]{0,20}(?:key|token))[\"']?\]?\s?[:=,]\s?[\"']?(?:Bearer|Basic|Token|token)?\s?"
        r"(?P<secret>[\w+/=.~-]{16,300})",
        ("authorization", "x-"),
        is_key,
    ),
    _named(
        "secret",
        r"(?i)[?&](?:api_?key|key|(?:access_|auth_|refresh_)?token|sig|signature|client_secret|secret|x-amz-signature|"
        r"appid)=(?P<secret>[\w%+/.~-]{16,300})",
        ("key=", "token=", "sig=", "signature=", "secret=", "appid="),
        is_key,
    ),
    _named(
        "password",
        r"\b[a-z][a-z0-9+]{1,20}://[^\s:@/\"'{}<>$%]{0,64}:(?P<secret>[^\s:@/\"'{}<>$%]{4,100})@[\w.-]+",
        ("://",),
        lambda match: (
            not re.fullmatch(r"(?i)(?:user)?(?:pass(?:word)?|pwd|secret|postgres|root|admin|guest|x+)", match[1])
        ),
    ),
    _named(
        "email",
        r"\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,4}\.[A-Za-z]{2,24}\b",
        ("@",),
        is_public_mail,
    ),
    _named("ip_address", r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]|\.\d|/)", (".",), is_public_address),
    _named(
        "ip_address",  # 2000::/3 is all that is public so far: RFC 4291
        r"(?<![\w:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{1,4}){1,6}:(?::?[0-9A-Fa-f]{1,4}){1,6}(?![\w:])",
        (":",),
        is_public_address,
    ),
)
_LIBRARY: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("aws.AWSKeyDetector", "aws_key", ("akia", "asia", "abia", "acca", "a3t", "aws")),
    ("azure_storage_key.AzureStorageKeyDetector", "azure_key", ("==",)),
    ("artifactory.ArtifactoryDetector", "artifactory_key", ("akc", "artif", "jfrog", "buildkit")),
    ("cloudant.CloudantDetector", "cloudant_key", ("cl",)),
    ("discord.DiscordBotTokenDetector", "discord_token", (".",)),
    ("gitlab_token.GitLabTokenDetector", "gitlab_token", ("gl", "gr1348941")),
    ("ibm_cos_hmac.IbmCosHmacDetector", "ibm_key", ("secret",)),
    ("mailchimp.MailchimpDetector", "mailchimp_key", ("-us",)),
    ("npm.NpmDetector", "npm_token", ("npm_", "_authtoken", "npm-token", "npm token")),
    ("openai.OpenAIDetector", "openai_key", ("t3blbkfj",)),
    ("pypi_token.PypiTokenDetector", "pypi_token", ("pypi-",)),
    ("sendgrid.SendGridDetector", "sendgrid_key", ("sg.",)),
    ("slack.SlackDetector", "slack_token", ("xox", "hooks.slack.com")),
    ("square_oauth.SquareOAuthDetector", "square_secret", ("sq0csp-",)),
    ("stripe.StripeDetector", "stripe_key", ("k_live_",)),
    ("telegram_token.TelegramBotTokenDetector", "telegram_token", (":",)),
    ("twilio.TwilioKeyDetector", "twilio_key", ("ac", "sk")),
)
"""Plugins of detect-secrets, the kind of what they find, and the hints of their patterns."""


def _library_detectors() -> Iterator[Detector]:
    for path, kind, hints in _LIBRARY:
        module, name = path.split(".")
        plugin = getattr(importlib.import_module(f"detect_secrets.plugins.{module}"), name)()
        for pattern in plugin.denylist:
            yield Detector(kind=kind, pattern=pattern, hints=hints, accepts=is_whole)


@functools.cache
def line_detectors() -> tuple[Detector, ...]:
    """Return what is looked for in a line, the formats of detect-secrets first: they name the kind."""
    return (*_library_detectors(), *_OWN_DETECTORS)
