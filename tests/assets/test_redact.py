"""Secrets are replaced, what only looks like one is not, and redacting twice changes nothing."""

import ast

import polars as pl
import pyarrow as pa
import pytest

from codeft_assets.curation.corpus.redact import count_secrets, find_suspects, redact, redact_all
from codeft_assets.curation.documents import MESSAGE_TYPE
from codeft_assets.stages.corpus import redact_documents
from tests.secret_cases import HARMLESS, SECRETS

KEY = "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEowIBAAKCAQEA7f\n" * 3 + "-----END RSA PRIVATE KEY-----"
TOKEN = "ghp_" + "aB3dE6gH9j" * 3 + "K2mN5p"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key = AKIAIOSFODNN7EXAMPLE", "key = <AWS_KEY>"),
        (f"auth {TOKEN} end", "auth <GITHUB_TOKEN> end"),
        (f"before\n{KEY}\nafter", "before\n<PRIVATE_KEY>\nafter"),
        (f"Bearer {JWT}", "Bearer <JWT>"),
        ("api_key = 'q9Zx7Lm2Vt8Rb4Nc6Wd1'", "api_key = '<SECRET>'"),
        ("mail jane.doe@mailhost.org now", "mail <EMAIL> now"),
        ("ssh 203.0.114.77 -p 22", "ssh <IP_ADDRESS> -p 22"),
        ("ping 2606:4700:4700::1111 now", "ping <IP_ADDRESS> now"),
        ("at 2a00:1450:4001:0831:0000:0000:0000:200e.", "at <IP_ADDRESS>."),
    ],
)
def test_a_secret_becomes_its_placeholder(text, expected):
    redacted, counts = redact(text)
    assert redacted == expected
    assert sum(counts.values()) == 1
    assert redact(redacted) == (redacted, {})
    assert find_suspects(pl.Series([text])).to_list() == [True]


@pytest.mark.parametrize(("before", "secret", "behind"), [case[1:] for case in SECRETS], ids=[c[0] for c in SECRETS])
def test_a_secret_of_every_usual_kind_is_replaced_and_nothing_behind_it(before, secret, behind):
    text = before + secret + behind
    redacted, counts = redact(text)
    assert secret not in redacted
    assert redacted.endswith(behind)
    assert sum(counts.values()) >= 1
    assert redact(redacted) == (redacted, {})
    assert find_suspects(pl.Series([text])).to_list() == [True]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_secret_stays(text):
    assert redact(text) == (text, {})


def test_many_texts_at_once_are_as_each_alone():
    texts = ["".join(case[1:]) for case in SECRETS] + list(HARMLESS) + ["", "\n"]
    assert redact_all(texts) == [redact(text) for text in texts]


def test_a_program_stays_a_program():
    lines = ["import os", "os.environ['API_KEY'] = 'q9Zx7Lm2Vt8Rb4Nc6Wd1'", "password = 'hunter2!' if os else ''"]
    redacted, counts = redact("\n".join(lines))
    ast.parse(redacted)
    assert counts == {"secret": 1, "password": 1}


@pytest.mark.parametrize(
    "text",
    [
        "write to user@example.com or admin@shop.example",
        "listen on 127.0.0.1, 10.0.0.7, 192.168.1.1 and 0.0.0.0",
        "version 1.2.3.0 and 4.18.0.1.2",
        "password = 'changeme'",
        "token = 'aaaaaaaaaaaaaaaaaaaaaaaa'",
        "secret = get_secret('database')",
        "@dataclass\nclass Point: pass",
        "999.999.999.999",
        "2001:db8::1 and fe80::1 and ::1",
        "at 2024:11:25 or 2000:01:02:03, map<int>::iterator, 3fff::",
        "AKIA is a prefix",
    ],
)
def test_what_identifies_nobody_is_left_alone(text):
    assert redact(text) == (text, {})


def test_every_text_that_redaction_changes_is_a_suspect():
    texts = pl.Series([f"x {part} y" for part in ("AKIAIOSFODNN7EXAMPLE", TOKEN, KEY, JWT, "a@b.io", "8.8.8.8")])
    changed = [redact(text)[0] != text for text in texts]
    assert all(changed)
    assert find_suspects(texts).to_list() == changed


def test_counts_are_by_kind():
    found = count_secrets(pl.Series(["a@b.io c@d.io", "8.8.8.8", "nothing"]))
    assert found == {"email": 2, "ip_address": 1}


def test_documents_lose_secrets_in_text_and_turns_and_name_the_kind_of_each():
    content = "Write to jane@mailhost.org or joe@mailhost.org, key AKIAIOSFODNN7EXAMPLE."
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "Done."}]
    rows = pl.DataFrame(
        pa.table(
            {
                "text": pa.array([content, "nothing to hide"], pa.large_string()),
                "messages": pa.array([turns, None], MESSAGE_TYPE),
            }
        )
    )
    clean = redact_documents(rows)
    assert clean["redacted"].to_list() == [["aws_key", "email", "email"], []]
    assert clean["num_redacted"].to_list() == [3, 0]
    assert clean["messages"][0][0]["content"] == clean["text"][0] == "Write to <EMAIL> or <EMAIL>, key <AWS_KEY>."
    assert clean["messages"][1] is None
    assert clean["text"][1] == "nothing to hide"
