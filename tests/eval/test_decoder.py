"""The plain decoder writes what transformers' ``generate`` writes, however its rows share batch and cache."""

import copy
import logging
import random
from types import SimpleNamespace

import pytest

from codeft_eval.generation.decoder import TOLERANCES
from codeft_eval.generation.decoding import Decoding, Prompt, StopFinder, token_selector, uniform
from codeft_eval.generation.engines import in_batches, in_graphs
from tests.eval.checkpoints import write_checkpoint

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "initializer_range": 0.3,
}  # fmt: skip
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
MODELS = {
    "llama": ("LlamaConfig", {}),
    "llama with biases": ("LlamaConfig", {"attention_bias": True, "mlp_bias": True, "head_dim": 16}),
    "llama 3": ("LlamaConfig", {"rope_parameters": LLAMA3_ROPE, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", {}),
    "qwen3": ("Qwen3Config", {"head_dim": 24}),
}
DEEP = {"deep": ("LlamaConfig", {"num_hidden_layers": 24})}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(write_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint"))


def build(name, vocabulary):
    """Return a random model in which every norm and bias matters."""
    import torch
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind, fields = (MODELS | DEEP)[name]
    config = getattr(transformers, kind)(vocab_size=vocabulary, **(SIZES | fields))
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.fixture(scope="module")
def llama(tokenizer):
    return build("llama", len(tokenizer))


def prompts_for(tokenizer, num_prompts, limit=30):
    draw = random.Random(1)
    return [
        Prompt(
            task_id=str(number), sample=0,
            tokens=tuple(draw.randrange(3, len(tokenizer)) for _ in range(draw.randrange(1, 20))),
            max_new_tokens=draw.randrange(1, limit),
        )
        for number in range(num_prompts)
    ]  # fmt: skip


def texts_of(generate, model, tokenizer, prompts, decoding):
    found = {}
    for part in generate(model, tokenizer, prompts, decoding, lambda _key: True):
        assert found.keys().isdisjoint(part)
        found |= part
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_twenty_prompts_in_eight_rows_say_what_generate_says(tokenizer, name, temperature):
    model = build(name, len(tokenizer))
    prompts = prompts_for(tokenizer, 20)
    decoding = Decoding(stops=("e",), temperature=temperature, min_p=0.02, batch_size=8)
    expected = texts_of(in_batches, model, tokenizer, prompts, decoding)
    assert texts_of(in_graphs, model, tokenizer, prompts, decoding) == expected
    assert len(set(expected.values())) > 5


def test_a_decoder_that_computes_something_else_is_refused(tokenizer):
    model = build("qwen3", len(tokenizer))
    model.model.layers[1].mlp.register_forward_hook(lambda _module, _given, output: output * 1.5)
    with pytest.raises(ValueError, match="differ from transformers' by .* use the engine 'batches'"):
        list(in_graphs(model, tokenizer, prompts_for(tokenizer, 1), Decoding(stops=()), lambda _key: True))


def test_a_model_that_loses_much_by_bfloat16_is_decoded_and_a_decoder_that_adds_to_it_is_refused(tokenizer):
    import torch

    model = build("deep", len(tokenizer)).to(torch.bfloat16)
    prompts, decoding = prompts_for(tokenizer, 1), Decoding(stops=())
    assert TOLERANCES[torch.bfloat16] < own_error(model)
    assert texts_of(in_graphs, model, tokenizer, prompts, decoding)
    model.model.layers[1].mlp.register_forward_hook(lambda _module, _given, output: output * 3)
    with pytest.raises(ValueError, match="differ from transformers'"):
        texts_of(in_graphs, model, tokenizer, prompts, decoding)


def own_error(model):
    """Return how far transformers' logits are from those of the same weights in float32."""
    import torch

    tokens = torch.arange(1, 33)[None]
    with torch.no_grad():
        exact = copy.deepcopy(model).float()(input_ids=tokens).logits
        return float((model(input_ids=tokens).logits.float() - exact).norm() / exact.norm())


def test_rows_are_given_up_when_no_prompt_waits(llama, tokenizer):
    """Half of 128 rows end at once: the other half goes on, renumbered, and the texts stay what they are."""
    prompts = [
        Prompt(task_id=p.task_id, sample=0, tokens=p.tokens, max_new_tokens=2 if number % 2 else 40)
        for number, p in enumerate(prompts_for(tokenizer, 128))
    ]
    decoding = Decoding(stops=(), temperature=0.9, batch_size=128)
    assert texts_of(in_graphs, llama, tokenizer, prompts, decoding) == texts_of(
        in_batches, llama, tokenizer, prompts, decoding
    )


def test_a_prompt_longer_than_a_cache_width_is_read_whole(llama, tokenizer):
    draw = random.Random(2)
    prompts = [
        Prompt(task_id=str(size), sample=0, tokens=tuple(draw.randrange(3, 60) for _ in range(size)), max_new_tokens=20)
        for size in (120, 128, 129, 250, 3)
    ]
    decoding = Decoding(stops=(), batch_size=8)
    assert texts_of(in_graphs, llama, tokenizer, prompts, decoding) == texts_of(
        in_batches, llama, tokenizer, prompts, decoding
    )


def test_exhausted_memory_halves_the_rows_and_loses_no_prompt(llama, tokenizer, monkeypatch, caplog):
    import torch

    prompts = prompts_for(tokenizer, 40)
    decoding = Decoding(stops=(), batch_size=32)
    expected = texts_of(in_batches, llama, tokenizer, prompts, decoding)
    product = torch.bmm

    def small_products_only(left, right):
        if len(left) > 16 * SIZES["num_key_value_heads"]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return product(left, right)

    monkeypatch.setattr(torch, "bmm", small_products_only)
    assert texts_of(in_graphs, llama, tokenizer, prompts, decoding) == expected
    assert "40 prompts go on in 16 rows" in caplog.text


def test_the_rows_that_fit_are_a_power_of_two():
    from codeft_eval.generation.in_flight import num_rows_in

    decoder = SimpleNamespace(length=100, bytes_per_token=10, vocabulary=0)
    assert [num_rows_in(1000 * rows, decoder) for rows in (0, 9, 16, 31, 32)] == [8, 8, 16, 16, 32]
    assert num_rows_in(1000 * 32, SimpleNamespace(length=100, bytes_per_token=10, vocabulary=100)) == 8


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model_type": "gpt2"}, "'gpt2' is none of llama"),
        ({"sliding_window": 8}, "sliding_attention, not full attention"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "not full attention alone"),
        ({"rope_parameters": {"rope_type": "dynamic"}}, "'dynamic' are none of"),
        ({"hidden_act": "gelu"}, "'gelu', not 'silu'"),
        ({"layer_types": ["full_attention"] * 2}, ""),
    ],
)
def test_what_the_decoder_cannot_run_has_a_reason(fields, reason):
    from codeft_eval.generation.decoder import why_unsupported

    found = why_unsupported(SimpleNamespace(**({"model_type": "qwen2", "hidden_act": "silu"} | fields)))
    assert reason in found
    assert bool(reason) == bool(found)


def test_a_model_of_another_kind_is_left_to_transformers(tokenizer, caplog):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    model, prompts, decoding = GPT2LMHeadModel(config).eval(), prompts_for(tokenizer, 3), Decoding(stops=())
    with caplog.at_level(logging.WARNING):
        found = texts_of(in_graphs, model, tokenizer, prompts, decoding)
    assert found == texts_of(in_batches, model, tokenizer, prompts, decoding)
    assert "cannot run this model (model type 'gpt2' is none of llama" in caplog.text


@pytest.mark.parametrize("generate", [in_batches, in_graphs])
def test_any_of_the_end_tokens_ends_a_text(llama, tokenizer, generate):
    prompt = Prompt(task_id="a", sample=0, tokens=(5, 6, 7), max_new_tokens=30)
    whole = texts_of(generate, llama, tokenizer, [prompt], Decoding(stops=()))[prompt]
    half = tuple(range(len(tokenizer) // 2))
    ended = texts_of(generate, llama, tokenizer, [prompt], Decoding(stops=(), stop_token_ids=half))[prompt]
    assert len(ended) < len(whole)
    assert whole.startswith(ended)


def test_a_stop_is_found_wherever_it_ends_in_the_last_tokens(tokenizer):
    draw = random.Random(3)
    stops = ("\ndef", "ab", "é")
    texts = [
        "x\ndef",
        "x\nde",
        "a b",
        "xab y",
        "é",
        "\n def",
        *("".join(draw.choices("ab\ndef", k=9)) for _ in range(40)),
    ]
    rows = [tokenizer(text)["input_ids"] for text in texts]
    for num_new in (1, 3):
        found = StopFinder(tokenizer, stops)(rows, num_new)
        for row, has_stop in zip(rows, found, strict=True):
            before, whole = tokenizer.decode(row[:-num_new]), tokenizer.decode(row)
            is_new = any(whole.count(stop) > before.count(stop) for stop in stops)
            assert has_stop >= is_new
            assert has_stop <= any(stop in whole for stop in stops)


def test_draws_are_even_and_depend_on_seed_and_place():
    import torch

    seeds = torch.arange(2000) * 10**13
    draws = torch.stack([uniform(seeds, torch.full_like(seeds, place)) for place in range(5)])
    assert draws.min() >= 0
    assert draws.max() < 1
    assert ((draws.mean(1) - 0.5).abs() < 0.03).all()
    assert torch.corrcoef(draws).fill_diagonal_(0).abs().max() < 0.1
    assert len(draws.unique()) > 9900


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"top_p": 0.6}, {0, 1}), ({"min_p": 0.4}, {0, 1}), ({"top_p": 0.5}, {0}), ({}, {0, 1, 2, 3})],
)
def test_top_p_and_min_p_leave_the_likeliest_tokens(limits, expected):
    import torch

    logits = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()[[1, 3, 0, 2]].expand(3000, 4)
    drawn = token_selector(Decoding(stops=(), temperature=1.0, **limits))(
        logits, torch.arange(3000), torch.zeros(3000, dtype=torch.long)
    )
    assert set(drawn.tolist()) == expected
