"""How a model is asked: in its own template, from an end of the prompt that it knows, until one of its own ends."""

import json
import shutil
from dataclasses import replace

import pytest

from codeft_eval.benchmarks.benchmark import CHAT, REPLY
from codeft_eval.benchmarks.catalogue import BENCHMARKS, load_items
from codeft_eval.generation.decoding import Decoding, Prompt
from codeft_eval.generation.engines import in_batches, in_graphs
from codeft_eval.generation.prompts import joins_the_boundary, load_tokenizer, stop_token_ids
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.prompting import prompt_items
from codeft_eval.scoring.runs import run_protocols
from codeft_eval.scoring.samples import read_samples
from codeft_eval.scoring.scores import AS_WRITTEN
from tests.eval.checkpoints import write_checkpoint

EMBEDDED = BENCHMARKS["embedded"]
ITEMS = load_items(EMBEDDED)[:3]
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|endofturn|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("model") / "base", context_tokens=2048)


@pytest.fixture(scope="module")
def chatty(base, tmp_path_factory):
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("model") / "chat"
    shutil.copytree(base, folder)
    tokenizer = load_tokenizer(base)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|endofturn|>"]})
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    return folder


def test_a_chat_is_the_models_template_with_the_published_words_and_an_open_code_block(chatty):
    asked, end = prompt_items(ITEMS, EMBEDDED.find_protocol(CHAT), load_tokenizer(chatty))
    instruction = (
        "Please provide a self-contained Python script that solves the following problem in a markdown code block:"
    )
    answer = (
        "Below is a Python script with a self-contained function that solves the problem and passes corresponding "
        "tests:\n```python\n"
    )
    question = f"{instruction}\n```\n{ITEMS[0].prompt.strip()}\n```\n"
    assert asked[0].prompt == f"<|user|>\n{question}<|endofturn|>\n<|assistant|>\n{answer}"
    assert (asked[0].form, asked[0].solution, end) == (REPLY, "", AS_WRITTEN)
    program = asked[0].to_program("def helper():\n    return 1\nassert False\n" + ITEMS[0].prompt + ITEMS[0].solution)
    assert "assert False" not in program.source
    assert program.prelude == ITEMS[0].source_prefix


def test_a_chat_without_a_template_is_refused_and_so_is_a_protocol_that_is_not_there(base):
    with pytest.raises(ValueError, match="tokenizer has no chat template; use the benchmark's own protocol"):
        prompt_items(ITEMS, EMBEDDED.find_protocol(CHAT), load_tokenizer(base))
    with pytest.raises(ValueError, match="protocol 'raw': benchmark 'mbpp' has few-shot only; choose one of them"):
        BENCHMARKS["mbpp"].find_protocol("raw")


class SplitTokenizer:
    """Splits as GPT-2 does, a line break joined with the indentation after it, or as Qwen does, on its own."""

    chat_template = None

    def __init__(self, joins):
        self.joins = joins

    def __call__(self, text, **_):
        marks = text.replace("\n   ", "\0") if self.joins else text
        return {"input_ids": list(marks.encode())}


@pytest.mark.parametrize("joins", [True, False])
def test_a_prompt_ends_before_white_space_that_the_tokenizer_joins_with_the_code(joins):
    tokenizer = SplitTokenizer(joins)
    assert joins_the_boundary(tokenizer, "def f():\n", "    return") == joins
    assert not joins_the_boundary(tokenizer, "def f():", "\n    return")
    asked, end = prompt_items(ITEMS, EMBEDDED.own_protocol, tokenizer)
    assert (end == AS_WRITTEN) != joins
    assert asked[0].prompt == (ITEMS[0].prompt.rstrip() if joins else ITEMS[0].prompt)
    # model and grader see the same text as before, whichever side the line break is on
    assert asked[0].prompt + asked[0].solution == ITEMS[0].prompt + ITEMS[0].solution
    assert asked[0].to_program(asked[0].solution).source == ITEMS[0].to_program(ITEMS[0].solution).source
    assert asked[0].loglikelihood_text == ITEMS[0].loglikelihood_text


class BlankLineTokenizer:
    """Joins two line breaks, as every split does: a solution that begins with a blank line is joined."""

    chat_template = None

    def __call__(self, text, **_):
        return {"input_ids": list(text.replace("\n\n", "\0").encode())}


def test_the_end_of_most_prompts_decides_and_one_odd_item_does_not():
    odd = replace(ITEMS[0], solution="\n" + ITEMS[0].solution)
    mostly_plain, mostly_odd = [odd, ITEMS[1], ITEMS[2]], [odd, odd, ITEMS[1]]
    assert prompt_items(mostly_plain, EMBEDDED.own_protocol, BlankLineTokenizer()) == (mostly_plain, AS_WRITTEN)
    assert prompt_items(mostly_odd, EMBEDDED.own_protocol, BlankLineTokenizer())[1] != AS_WRITTEN


def test_all_ends_of_a_model_end_its_text(chatty, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(chatty, model)
    settings = json.loads((model / "generation_config.json").read_text())
    (model / "generation_config.json").write_text(json.dumps(settings | {"eos_token_id": [0, 7]}))
    tokenizer = load_tokenizer(model)
    turn_end = tokenizer.convert_tokens_to_ids("<|endofturn|>")
    assert stop_token_ids(model, tokenizer) == (0, 7, turn_end)


@pytest.mark.parametrize("generate", [in_batches, in_graphs])
def test_a_completion_ends_at_each_of_the_stop_tokens(base, generate):
    import torch
    from transformers import AutoModelForCausalLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(base).eval(), load_tokenizer(base)
    prompt = Prompt(task_id="t", sample=0, tokens=tuple(tokenizer("def f(x):")["input_ids"]), max_new_tokens=8)
    (whole,) = generate(model, tokenizer, [prompt], Decoding(stops=()), lambda _: True)
    with torch.no_grad():
        first = model(torch.tensor([prompt.tokens])).logits[0, -1].argmax().item()
    (cut,) = generate(model, tokenizer, [prompt], Decoding(stops=(), stop_token_ids=(first,)), lambda _: True)
    assert whole[prompt]
    assert cut[prompt] == ""


def test_a_checkpoint_with_a_template_is_scored_by_both_protocols(base, chatty, tmp_path):
    assert EMBEDDED.chat is not None
    short = replace(EMBEDDED, max_new_tokens=4, chat=replace(EMBEDDED.chat, max_new_tokens=4))
    options = Options(limit=2, batch_size=2)
    scores = list(run_protocols(chatty, short, tmp_path, options, "all").values())
    assert [score.protocol_name for score in scores] == ["raw", "chat"]
    assert [score.name for score in scores] == ["embedded", "embedded-chat"]
    assert scores[1].title == "Embedded functions (chat)"
    assert scores[1].settings["stops"] == ["\n```"]
    assert "bits_per_byte" not in scores[1].metrics
    assert {row["protocol_name"] for row in read_samples(tmp_path / "chat")} == {"chat"}
    scores = run_protocols(base, short, tmp_path, options, "all")
    assert list(scores) == [tmp_path]
    assert not (tmp_path / "chat").exists()
