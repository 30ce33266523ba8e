"""Exports are exactly the run's results: they load where the Hub's files load, and nothing leaves without a token."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from codeft_assets.base.files import file_hash
from codeft_training.data.corpus import Corpus
from codeft_training.export.folders import export_corpus, export_model, push
from codeft_training.export.model_card import model_card
from tests.training.corpus_folder import default_rows, write_corpus

LINEAGE = {
    "sources": [
        {"source": "plain", "revision": "r1", "license": "MIT", "num_in": 70, "num_kept": 64},
        {"source": "chat", "revision": "r2", "license": "none stated", "num_in": 30, "num_kept": 21},
    ],
    "dropped": {"near_duplicate": 9, "contaminated": 6},
}
RESULT = {
    "recipe": {"name": "smoke", "about": "A test", "context_tokens": 64, "seed": 1},
    "recipe_hash": "0123456789abcdef",
    "num_parameters": 12345,
    "corpus_content_hash": "c" * 32,
    "packed_content_hash": "p" * 64,
    "num_tokens_seen": 1000,
    "num_tokens_in_corpus": 2000,
    "tokens_by_source": {"plain": 1234, "chat": 567},
    "first_loss": 6.5,
    "final_loss": 4.25,
    "validation": {"bits_per_byte": 2.5},
    "seconds": 3.5,
    "environment": {"torch": "2", "device": "cpu x 2"},
}


def model_of(tokenizer, **changes):
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(1)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    values = shape | {"head_dim": 8, "intermediate_size": 48, "max_position_embeddings": 64, "rope_theta": 5000.0}
    config = Qwen3Config(vocab_size=len(tokenizer), tie_word_embeddings=True, eos_token_id=0, pad_token_id=0, **values)
    return Qwen3ForCausalLM(config)


@pytest.fixture(scope="module")
def run_folder(made, tmp_path_factory):
    """A finished run: what train leaves, without training."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("run")
    tokenizer = AutoTokenizer.from_pretrained(made / "tokenizer")
    tokenizer.save_pretrained(folder / "checkpoint")
    model_of(tokenizer).save_pretrained(folder / "checkpoint")
    (folder / "checkpoint" / "README.md").write_text("the card of the run")
    result = RESULT | {"weights_hash": file_hash(folder / "checkpoint" / "model.safetensors")}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "lineage.json").write_text(json.dumps(LINEAGE))
    entries = [{"step": i, "loss": 6 - i} for i in range(3)] + [{"step": 2, "bits_per_byte": 2.5}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


SCORES = "# Scoreboard\n\nCheckpoint `abc`\n\n| benchmark | ours |\n|---|---|\n| embedded | 3 of 44 |\n\n## Notes\n"


def test_a_model_folder_loads_and_its_card_says_everything(run_folder, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    files = export_model(run_folder, tmp_path / "model", scores=SCORES, gguf=False)
    assert {"model.safetensors", "config.json", "tokenizer.json", "curves.png", "README.md"} <= set(files)
    assert "model.gguf" not in files
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    original = AutoModelForCausalLM.from_pretrained(run_folder / "checkpoint")
    assert all((a == b).all() for a, b in zip(loaded.parameters(), original.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template
    card = (tmp_path / "model" / "README.md").read_text()
    for said in (
        "smoke (0123456789abcdef)", "c" * 32, "p" * 32, "| plain | r1 | MIT | 1,234 | 64 | 70 |", "near_duplicate | 9",
        "cpu x 2", "passes over the corpus | 0.5",
        "6.5000 → 4.2500", "| embedded | 3 of 44 |", "### Notes", "(curves.png)",
    ):  # fmt: skip
        assert said in card
    assert "# Scoreboard" not in card
    assert (tmp_path / "model" / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("licenses", "base", "expected"),
    [
        (["MIT", "MIT"], "", {"license": "mit"}),
        (["MIT", "Apache-2.0"], "", {"license": "other", "license_name": "by-source"}),
        (["none stated"], "", {"license": "other", "license_name": "by-source"}),
        (["MIT"], "Qwen/Qwen2.5-0.5B", {"license": "other", "base_model": "Qwen/Qwen2.5-0.5B"}),
        (["MIT"], "/data/models/qwen", {"license": "other", "base_model": "qwen"}),
    ],
)
def test_a_card_names_license_and_base_model_as_the_hub_reads_them(licenses, base, expected):
    from huggingface_hub import ModelCard

    sources = [{"source": str(number), "license": license} for number, license in enumerate(licenses)]
    recipe = RESULT["recipe"] | ({"base_model": base} if base else {})
    card = ModelCard(model_card(RESULT | {"recipe": recipe}, {"sources": sources}))
    assert expected.items() <= card.data.to_dict().items()
    assert ("base_model" in card.data.to_dict()) == bool(base)


def test_a_checkpoint_without_scores_says_so(run_folder, tmp_path):
    export_model(run_folder, tmp_path / "model", gguf=False)
    assert "has not been scored" in (tmp_path / "model" / "README.md").read_text()


def test_weights_that_are_not_the_runs_are_not_exported(run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "run")
    with (tmp_path / "run" / "checkpoint" / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="is not the file its run wrote"):
        export_model(tmp_path / "run", tmp_path / "model")
    (tmp_path / "run" / "result.json").unlink()
    with pytest.raises(ValueError, match="holds no finished run"):
        export_model(tmp_path / "run", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_gguf_file_loads_in_transformers_with_the_same_weights_and_tokens(run_folder, tmp_path):
    pytest.importorskip("gguf", reason="reading and writing GGUF needs the package gguf")
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    export_model(run_folder, tmp_path / "model")
    folder = tmp_path / "model"
    assert "model.gguf" in (folder / "README.md").read_text()
    original = AutoModelForCausalLM.from_pretrained(run_folder / "checkpoint")
    loaded = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file="model.gguf", config=AutoConfig.from_pretrained(folder), dtype=torch.float32
    )
    ids = torch.arange(40)[None]
    assert torch.equal(original(ids).logits, loaded(ids).logits)
    (tmp_path / "alone").mkdir()
    shutil.copy(folder / "model.gguf", tmp_path / "alone")
    own = AutoTokenizer.from_pretrained(folder)
    read = AutoTokenizer.from_pretrained(tmp_path / "alone", gguf_file="model.gguf")
    for text in ("def f(x):\n\treturn 123  # ü 数 🙂\r\n", "<|im_start|>user\n<think>a</think>  b<|im_end|>"):
        assert own(text)["input_ids"] == read(text)["input_ids"]
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert "generation %}" not in read.chat_template
    assert read.apply_chat_template(messages, tokenize=False) == own.apply_chat_template(messages, tokenize=False)
    assert (read.eos_token, read.pad_token) == (own.eos_token, own.pad_token)


def test_a_gguf_file_keeps_sixteen_bits_as_they_are(run_folder, tmp_path):
    gguf = pytest.importorskip("gguf", reason="reading and writing GGUF needs the package gguf")
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    from codeft_training.export.gguf import write_gguf

    shutil.copytree(run_folder / "checkpoint", tmp_path / "checkpoint")
    AutoModelForCausalLM.from_pretrained(run_folder / "checkpoint", dtype=torch.bfloat16).save_pretrained(
        tmp_path / "checkpoint"
    )
    write_gguf(tmp_path / "checkpoint", tmp_path / "model.gguf", name="a test")
    weights = load_file(tmp_path / "checkpoint" / "model.safetensors")
    found = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert len(found) == len(weights)
    assert np.array_equal(
        found["blk.1.ffn_down.weight"], weights["model.layers.1.mlp.down_proj.weight"].float().numpy()
    )
    assert np.array_equal(found["output_norm.weight"], weights["model.norm.weight"].float().numpy())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("config.json", '"model_type": "qwen3"', '"model_type": "llama"'), "model type 'llama' is none of"),
        (("config.json", '"rope_type": "default"', '"rope_type": "dynamic", "factor": 2.0'), "must be 'default' ones"),
        (("tokenizer.json", "[^\\\\s\\\\p{L}\\\\p{N}]+", "[^\\\\s\\\\p{L}]+"), "does not split text by Qwen 2's"),
    ],
)
def test_what_no_reader_would_read_right_is_not_written(run_folder, tmp_path, change, message):
    pytest.importorskip("gguf", reason="writing GGUF needs the package gguf")
    from codeft_training.export.gguf import write_gguf

    shutil.copytree(run_folder / "checkpoint", tmp_path / "checkpoint")
    name, old, new = change
    text = (tmp_path / "checkpoint" / name).read_text()
    assert old in text
    (tmp_path / "checkpoint" / name).write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=message):
        write_gguf(tmp_path / "checkpoint", tmp_path / "model.gguf", name="a test")
    assert not (tmp_path / "model.gguf").exists()


def load(path, cache, **options):
    import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(str(path), cache_dir=str(cache), **options)


def test_a_corpus_folder_is_read_by_load_dataset(made, tmp_path):
    files = export_corpus(Corpus(made / "corpus"), tmp_path / "corpus", lineage=LINEAGE)
    assert set(files) == {"README.md", "data/train-00000.parquet", "data/validation-00000.parquet"}
    found = load(tmp_path / "corpus", tmp_path / "cache")
    rows = default_rows()
    for split in ("train", "validation"):
        expected = {row["document_id"]: row for row in rows if row["split"] == split}
        assert {row["document_id"]: row for row in found[split].to_list()} == expected
    card = (tmp_path / "corpus" / "README.md").read_text()
    for said in ("| chat | r2 | none stated | 21 | 30 |", "| train | 80 |", "| epochs | uint8 |", "contaminated"):
        assert said in card
    assert Corpus(made / "corpus").content_hash in card


def test_a_large_corpus_is_cut_into_files(made, tmp_path, monkeypatch):
    monkeypatch.setattr("codeft_training.export.folders._FILE_BYTES", 1)
    files = export_corpus(Corpus(made / "corpus"), tmp_path / "corpus", lineage={})
    assert {"data/train-00000.parquet", "data/train-00001.parquet"} <= set(files)
    assert load(tmp_path / "corpus", tmp_path / "cache")["train"].num_rows == 80


def test_rows_of_an_unknown_split_are_an_error(tmp_path):
    rows = default_rows()
    rows[3]["split"] = "test"
    with pytest.raises(ValueError, match="says 85 rows.*have {'train': 79"):
        export_corpus(Corpus(write_corpus(tmp_path / "table", rows)), tmp_path / "corpus", lineage={})
    assert not (tmp_path / "corpus").exists()


def test_a_pushed_corpus_is_read_back_from_the_hub(made, tmp_path, hub, monkeypatch):
    export_corpus(Corpus(made / "corpus"), tmp_path / "corpus", lineage=LINEAGE)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    url = push(tmp_path / "corpus", "me/corpus", repo_type="dataset")
    assert url.startswith(f"{hub.url}/datasets/me/corpus/commit/")
    assert hub.created == [("dataset", "me/corpus", "private")]
    assert pq.read_table(tmp_path / "corpus" / "data" / "train-00000.parquet").num_rows == 80
    assert load("me/corpus", tmp_path / "cache")["train"].num_rows == 80


def test_a_model_is_pushed_twice_into_one_repository(run_folder, tmp_path, hub, monkeypatch):
    files = export_model(run_folder, tmp_path / "model", gguf=False)
    monkeypatch.setenv("HF_TOKEN", "hf_write")
    for _ in range(2):
        push(tmp_path / "model", "me/model", repo_type="model")
    repo = hub.repos["me/model"]
    assert set(repo.commits[repo.head]) == {*files, ".gitattributes"}
    assert repo.commits[repo.head]["model.safetensors"] == (tmp_path / "model" / "model.safetensors").read_bytes()


def test_nothing_is_pushed_without_a_token(run_folder, tmp_path, hub):
    export_model(run_folder, tmp_path / "model", gguf=False)
    with pytest.raises(ValueError, match="pushing to 'me/model' needs HF_TOKEN"):
        push(tmp_path / "model", "me/model", repo_type="model")
    assert not hub.created
    assert not hub.repos


def test_a_token_without_access_pushes_nothing(run_folder, tmp_path, hub, monkeypatch):
    from huggingface_hub.errors import HfHubHTTPError

    export_model(run_folder, tmp_path / "model", gguf=False)
    monkeypatch.setenv("HF_TOKEN", "hf_read")
    with pytest.raises(HfHubHTTPError, match="401"):
        push(tmp_path / "model", "me/model", repo_type="model")
    assert not hub.repos
