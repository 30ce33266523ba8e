"""What the Hub's client raises becomes a few words of ours."""

import os
import subprocess
import sys

import pytest

from codeft_assets.base.hub_errors import is_path

ASK = """
from codeft_assets.base.hub_errors import hub_reason
from huggingface_hub import snapshot_download
try:
    snapshot_download({name!r}, cache_dir={cache!r})
except Exception as error:
    print(hub_reason(error))
"""


@pytest.mark.parametrize(
    ("name", "variables", "said"),
    [
        ("a/b", {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE keeps the Hub's client from the network"),
        ("a/b", {"HF_HUB_OFFLINE": "0"}, "the Hub cannot be reached ([Errno 111] Connection refused)"),
        ("a//b", {}, "Repo id must be in the form 'repo_name' or 'namespace/repo_name': 'a//b'."),
    ],
)
def test_the_reason_is_one_line_without_the_clients_advice(tmp_path, name, variables, said):
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1", **variables}
    code = ASK.format(name=name, cache=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    (line,) = done.stdout.splitlines()
    assert line.startswith(said)


@pytest.mark.parametrize("name", ["./m", "/m", "~/m", "../m", "a/b/c"])
def test_what_can_only_be_a_path_is_one(name):
    assert is_path(name)


@pytest.mark.parametrize("name", ["gpt2", "a/b", "Qwen/Qwen2.5-0.5B"])
def test_an_id_of_the_hub_is_no_path(name):
    assert not is_path(name)
