"""A checkpoint stops where it should, and each setting is where transformers 4 and 5 look for it."""

import json

import pytest

from codeft_training.data.corpus import Corpus
from codeft_training.data.tokenizer import adopt_tokenizer
from codeft_training.export.checkpoint import save_checkpoint, stop_ids
from codeft_training.train.run import train
from tests.training.base_models import QWEN_SPECIAL, save_small_base
from tests.training.children import Collected, finetuning_run

REPLY = "Four.<|im_end|>"


@pytest.fixture(scope="module")
def tokenizer_folder(made, tmp_path_factory):
    """Return the tokenizer of a fine-tuning run, adopted from a base model."""
    root = tmp_path_factory.mktemp("adopted")
    base = save_small_base(root / "base")
    adopt_tokenizer(Corpus(made / "corpus"), root / "tokenizer", base_model=str(base))
    return root / "tokenizer"


def reciting_model(tokenizer, text):
    """Return a model whose next token depends on the last one alone: it recites ``text``, again and again."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    size = len(tokenizer)
    config = Qwen2Config(
        vocab_size=size, hidden_size=size + size % 2, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
        num_key_value_heads=1, tie_word_embeddings=False, rope_theta=5000.0,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    ids = tokenizer(text)["input_ids"]
    start = tokenizer("\n")["input_ids"][-1]  # a prompt ends in the line break after the role
    with torch.no_grad():
        for parameter in model.model.layers.parameters():
            parameter.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size, config.hidden_size))
        model.lm_head.weight.zero_()
        for last, following in zip([start, *ids], [*ids, start], strict=True):
            model.lm_head.weight[following, last] = 1.0
    return model


def saved(folder, tokenizer_folder, text=REPLY, known=None, **options):
    from transformers import AutoTokenizer

    model = reciting_model(AutoTokenizer.from_pretrained(tokenizer_folder), text)
    model.generation_config.eos_token_id = known
    model.config.use_cache = False  # as a trainer leaves it
    folder.mkdir()
    save_checkpoint(model, tokenizer_folder, folder, **{"dtype": None, **options})
    return folder


@pytest.mark.parametrize("known", [None, "<|endoftext|>", ["<|vision_pad|>", "<|endoftext|>"]])
def test_plain_transformers_stops_at_the_end_of_a_turn(tokenizer_folder, tmp_path, known):
    from transformers import AutoTokenizer, pipeline

    ids = known and AutoTokenizer.from_pretrained(tokenizer_folder).convert_tokens_to_ids(known)
    folder = saved(tmp_path / "checkpoint", tokenizer_folder, known=ids)
    chat = pipeline("text-generation", model=str(folder))
    [found] = chat([{"role": "user", "content": "2 + 2?"}], max_new_tokens=40, return_full_text=False, do_sample=False)
    assert found["generated_text"] == "Four."


@pytest.mark.parametrize("end", ["<|endoftext|>", "<|vision_pad|>"])
def test_the_ends_of_a_text_and_of_the_base_model_still_stop(tokenizer_folder, tmp_path, end):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    known = [tokenizer.convert_tokens_to_ids("<|vision_pad|>")]
    folder = saved(tmp_path / "checkpoint", tokenizer_folder, text=f"Four.{end}", known=known)
    inputs = tokenizer("2 + 2\n", return_tensors="pt")
    found = AutoModelForCausalLM.from_pretrained(folder).generate(**inputs, max_new_tokens=40, do_sample=False)
    assert tokenizer.decode(found[0]) == f"2 + 2\nFour.{end}"


def test_the_stop_list_is_the_union_in_which_the_bases_ends_come_first(tokenizer_folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    text, turn, other = (tokenizer.convert_tokens_to_ids(name) for name in (QWEN_SPECIAL[0], *QWEN_SPECIAL[2:4]))
    assert stop_ids(None, tokenizer) == [turn, text]
    assert stop_ids(text, tokenizer) == [text, turn]
    assert stop_ids([other, text], tokenizer) == [other, text, turn]


def test_programs_that_know_one_end_only_know_the_end_of_a_turn(tokenizer_folder, tmp_path):
    from transformers import AutoTokenizer

    folder = saved(tmp_path / "checkpoint", tokenizer_folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    assert json.loads((folder / "config.json").read_text())["eos_token_id"] == tokenizer.eos_token_id
    assert "generation" not in tokenizer.chat_template.split("add_generation_prompt")[0]


def test_each_setting_is_where_both_majors_look(tokenizer_folder, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM

    folder = saved(tmp_path / "checkpoint", tokenizer_folder, dtype=torch.bfloat16)
    config, tokenizer, generation = (
        json.loads((folder / name).read_text())
        for name in ("config.json", "tokenizer_config.json", "generation_config.json")
    )
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 5000.0
    assert config["torch_dtype"] == config["dtype"] == "bfloat16"
    assert config["use_cache"] is True
    assert "rope_scaling" not in config
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not {"is_local", "extra_special_tokens"} & set(tokenizer)
    assert "_from_model_config" not in generation
    loaded = AutoModelForCausalLM.from_pretrained(folder)
    assert (loaded.dtype, loaded.config.rope_parameters["rope_theta"]) == (torch.bfloat16, 5000.0)


def test_stretched_positions_are_named_for_both_majors(made, tmp_path):
    from transformers import AutoConfig, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 5000.0}
    shape = {"hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    size = len(AutoTokenizer.from_pretrained(made / "tokenizer"))
    config = Qwen3Config(
        vocab_size=size, num_key_value_heads=1, rope_parameters=yarn, max_position_embeddings=256, **shape
    )
    save_checkpoint(Qwen3ForCausalLM(config), made / "tokenizer", tmp_path, dtype=None)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["rope_theta"] == 5000.0
    assert {"rope_type": "yarn", "factor": 4.0}.items() <= written["rope_scaling"].items()
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == written["rope_parameters"]


def test_fine_tuning_keeps_the_stop_list_and_the_type_of_its_base(made, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(made / "tokenizer")
    shape = {"hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), num_key_value_heads=1, **shape))
    pad, turn, text = tokenizer.convert_tokens_to_ids(["<|fim_pad|>", "<|im_end|>", "<|endoftext|>"])
    model.generation_config.eos_token_id = [pad]
    (tmp_path / "base").mkdir()
    save_checkpoint(model, made / "tokenizer", tmp_path / "base", dtype=torch.bfloat16)
    train(finetuning_run(made, tmp_path / "base", tmp_path / "run", max_steps=2), Collected())
    trained = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "checkpoint", dtype="auto")
    assert trained.dtype == torch.bfloat16
    assert set(trained.generation_config.eos_token_id) == {pad, turn, text}
