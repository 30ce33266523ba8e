"""Exports are read alike by transformers 4, transformers 5 and llama.cpp; the first and the last have their own Python.

To make them, each in a virtual environment (transformers 4 may share torch through a ``.pth`` file):
``pip install 'transformers==4.57.*' torch`` and ``pip install llama-cpp-python``.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codeft_training.export.checkpoint import save_checkpoint

pytestmark = pytest.mark.slow
READERS = Path(__file__).with_name("readers")
TEXTS = ["def f(x):\n\treturn 123  # ü 数 🙂\r\n", "<|im_start|>user\n    a</think>  b<|im_end|>\n"]


def read(python, script, path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, str(READERS / script), str(path), json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def other_python(variable):
    python = os.environ.get(variable) or str(Path(f"~/.cache/codeft/{variable.lower()}/bin/python").expanduser())
    if not Path(python).is_file():
        pytest.skip(f"no other Python; {variable} names one")
    return python


@pytest.fixture(scope="module", params=["qwen3", "qwen2"])
def folder(request, made, tmp_path_factory):
    """Return a checkpoint as training leaves it: in 32 bits, or in 16 with biases and another base of its positions."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("checkpoint")
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    values = shape | {"intermediate_size": 96, "max_position_embeddings": 64, "rope_theta": 5000.0}
    size = len(AutoTokenizer.from_pretrained(made / "tokenizer"))
    config = AutoConfig.for_model(request.param, vocab_size=size, tie_word_embeddings=True, head_dim=16, **values)
    model = AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    save_checkpoint(model, made / "tokenizer", folder, dtype=torch.bfloat16 if request.param == "qwen2" else None)
    return folder


def test_the_fourth_major_of_transformers_reads_what_the_fifth_reads(folder):
    older = read(other_python("CODEFT_TRANSFORMERS_4"), "plain_transformers.py", folder)
    newer = read(sys.executable, "plain_transformers.py", folder)
    assert (older["version"][0], newer["version"][0]) == ("4", "5")
    for name in ("ids", "dtype", "stops", "reply"):
        assert older[name] == newer[name]
    for ours, theirs in zip(newer["logits"], older["logits"], strict=True):
        assert np.allclose(ours, theirs, atol=1e-5)


def test_llama_cpp_reads_the_same_tokens_and_logits(folder, tmp_path):
    pytest.importorskip("gguf", reason="writing GGUF needs the package gguf")
    from codeft_training.export.gguf import write_gguf

    python = other_python("CODEFT_LLAMA_CPP")
    write_gguf(folder, tmp_path / "model.gguf", name="a test")
    found = read(python, "llama_gguf.py", tmp_path / "model.gguf")
    expected = read(sys.executable, "plain_transformers.py", folder)
    assert found["ids"] == expected["ids"]
    assert found["eot"] in expected["stops"]
    assert set(expected["stops"]) <= set(found["ends"])
    close = 1e-3 if "float32" in expected["dtype"] else 0.05  # llama.cpp rounds activations to the weights' type
    for ours, theirs in zip(expected["logits"], found["logits"], strict=True):
        assert np.allclose(ours, theirs, atol=close)
