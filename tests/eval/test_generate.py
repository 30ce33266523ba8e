"""A sample depends on task, item and number alone; both ways of generating say the same."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from codeft_assets.stages.code_version import code_version_of
from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.generation import language_models
from codeft_eval.generation.checkpoints import GenerationSettings, load_language_model
from codeft_eval.generation.cuda_graph import STEPS_PER_LOOK
from codeft_eval.generation.decoding import Decoding, Prompt, cut_at_stop, sample_seed, token_selector
from codeft_eval.generation.engines import continuously, in_batches, in_graphs
from codeft_eval.generation.language_models import ANSWERS_VERSION
from codeft_eval.generation.prompts import load_tokenizer
from codeft_eval.scoring import runs
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import choose_settings, run_checkpoint
from codeft_eval.scoring.samples import read_samples
from codeft_eval.scoring.scores import RunIdentity
from tests.eval.checkpoints import write_checkpoint

SHORT = replace(BENCHMARKS["embedded"], max_new_tokens=8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    import torch

    torch.set_num_threads(1)
    return write_checkpoint(tmp_path_factory.mktemp("model") / "checkpoint")


@pytest.fixture(scope="module")
def loaded(checkpoint):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint)


def prompts_of(tokenizer, texts, num_samples=1):
    return [
        Prompt(
            task_id=text, sample=sample, tokens=tuple(tokenizer(text)["input_ids"]), max_new_tokens=6 + len(text) % 3
        )
        for text in texts
        for sample in range(num_samples)
    ]


def texts_of(generate, loaded, prompts, decoding):
    found = {}
    for part in generate(*loaded, prompts, decoding, lambda _key: True):
        found |= {prompt.key: text for prompt, text in part.items()}
    return found


TEXTS = ["def f(x):", "x", "return x if x else", "class A:\n    def g(self):"]


@pytest.fixture(scope="module")
def attentive(loaded):
    """With queries and keys that are large: what it says depends on which tokens it sees, and where."""
    import copy

    import torch

    model = copy.deepcopy(loaded[0])
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight.mul_(40)
            layer.self_attn.k_proj.weight.mul_(40)
            layer.self_attn.v_proj.weight.mul_(40)
    return model, loaded[1]


@pytest.mark.parametrize("stops", [(), ("e", "xyz")])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_graphs_say_what_batches_say(attentive, temperature, stops):
    loaded, tokenizer = attentive, attentive[1]
    prompts = [
        replace(prompt, max_new_tokens=prompt.max_new_tokens + 3 * STEPS_PER_LOOK)
        for prompt in prompts_of(tokenizer, TEXTS, 2 if temperature else 1)
    ]
    decoding = Decoding(stops=stops, temperature=temperature, top_p=0.9, batch_size=3)
    assert texts_of(in_graphs, loaded, prompts, decoding) == texts_of(in_batches, loaded, prompts, decoding)


@pytest.mark.parametrize(
    ("device", "sliding", "wanted", "expected"),
    [
        ("cuda", False, {}, ("graphs", 2048, "bfloat16")),
        ("cuda:1", True, {}, ("batches", 64, "bfloat16")),
        ("cpu", False, {}, ("batches", 16, "float32")),
        ("cuda", False, {"engine": "continuous", "batch_size": 3, "dtype": "float32"}, ("continuous", 3, "float32")),
    ],
)
def test_what_is_not_said_is_what_the_device_does_best(checkpoint, tmp_path, device, sliding, wanted, expected):
    shutil.copytree(checkpoint, tmp_path / "model")
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"model_type": "mistral", "sliding_window": 8} if sliding else {}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    found = choose_settings(
        tmp_path / "model", load_tokenizer(checkpoint), SHORT.own_protocol, Options(device=device, **wanted)
    )
    assert (found.engine, found.batch_size, found.dtype) == expected


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_completion_does_not_depend_on_its_batch(loaded, temperature):
    prompts = prompts_of(loaded[1], TEXTS, 3 if temperature else 1)
    ways = [
        texts_of(in_batches, loaded, prompts, Decoding(stops=(), temperature=temperature, top_p=0.9, batch_size=size))
        for size in (1, 2, 12)
    ]
    assert ways[0] == ways[1] == ways[2]
    assert len(ways[0]) == len(prompts)


def test_samples_of_an_item_differ_and_another_seed_gives_others(loaded):
    prompts = prompts_of(loaded[1], TEXTS[:1], 4)
    decoding = Decoding(stops=(), temperature=1.0)
    first, again = (texts_of(in_batches, loaded, prompts, decoding) for _ in range(2))
    assert first == again
    assert len(set(first.values())) == 4
    assert texts_of(in_batches, loaded, prompts, replace(decoding, seed=1)) != first
    assert len({sample_seed(prompt, decoding) for prompt in prompts}) == 4


def test_samples_follow_the_models_distribution():
    import torch

    probabilities = torch.tensor([0.7, 0.2, 0.1])
    select = token_selector(Decoding(stops=(), temperature=1.0))
    drawn = select(probabilities.log().expand(4000, 3), torch.arange(4000), torch.full((4000,), 7))
    counts = torch.bincount(drawn, minlength=3) / 4000
    assert (counts - probabilities).abs().max() < 0.03


def test_a_row_ends_at_its_stop_and_at_its_own_limit(loaded):
    prompts = prompts_of(loaded[1], TEXTS)
    whole = texts_of(in_batches, loaded, prompts, Decoding(stops=()))
    stop = next(iter(whole.values()))[2:4]
    stopped = texts_of(in_batches, loaded, prompts, Decoding(stops=(stop,)))
    assert stopped == {key: cut_at_stop(text, (stop,)) for key, text in whole.items()}
    assert any(stopped[key] != whole[key] for key in whole)


def test_text_is_cut_at_its_first_stop():
    assert cut_at_stop("a\ndef b\nclass", ("\nclass", "\ndef ")) == "a"
    assert cut_at_stop("abc", ("x",)) == "abc"


@pytest.mark.slow
def test_continuous_batching_says_what_batches_say(loaded):
    prompts = prompts_of(loaded[1], TEXTS)
    decoding = Decoding(stops=(), batch_size=2)
    assert texts_of(continuously, loaded, prompts, decoding) == texts_of(in_batches, loaded, prompts, decoding)


def test_attention_that_differs_from_run_to_run_is_off(checkpoint):
    import torch

    torch.backends.cuda.enable_cudnn_sdp(True)
    load_language_model(checkpoint, GenerationSettings(max_new_tokens=8, stops=()))
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_several_samples_an_item_give_pass_at_k_and_one_line_each(checkpoint, tmp_path):
    options = Options(limit=2, batch_size=4, num_samples=5, temperature=0.8)
    score = run_checkpoint(checkpoint, SHORT, tmp_path / "a", options)
    assert {"pass@1", "pass@5"} <= set(score.metrics)
    assert (score.num_items, score.num_scored) == (2, 10)
    samples = list(read_samples(tmp_path / "a"))
    assert [(sample["task_id"], sample["sample"]) for sample in samples] == [
        (f"codeft/{item}", number) for item in range(2) for number in range(5)
    ]
    again = run_checkpoint(checkpoint, SHORT, tmp_path / "b", replace(options, batch_size=3))
    texts = [sample["completion"] for sample in samples]
    assert texts == [sample["completion"] for sample in read_samples(tmp_path / "b")]
    assert again.settings != score.settings


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"num_samples": 4}, "4 samples at temperature 0 are one sample"),
        ({"engine": "vllm"}, "engine 'vllm' is not one of"),
        ({"temperature": 0.8, "engine": "continuous"}, "draws no samples"),
        ({"temperature": -1.0}, "temperature is 0 or more"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p in"),
        ({"batch_size": 0}, "give positive numbers"),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        GenerationSettings(max_new_tokens=8, stops=("x",), **options)


def test_likelihoods_of_long_texts_share_a_forward_only_as_far_as_memory_goes(checkpoint, tmp_path, monkeypatch):
    import torch
    from torch.nn.modules.module import register_module_forward_pre_hook

    sizes, options = [], Options(limit=6, batch_size=64)

    def note(module, given):
        if isinstance(module, torch.nn.Embedding):
            sizes.append(given[0].shape)

    run_checkpoint(checkpoint, SHORT, tmp_path / "free", options)
    monkeypatch.setattr(language_models, "MAX_LIKELIHOOD_TOKENS", 300)
    hook = register_module_forward_pre_hook(note)
    run_checkpoint(checkpoint, SHORT, tmp_path / "bounded", options)
    hook.remove()
    free, bounded = (read_samples(tmp_path / name) for name in ("free", "bounded"))
    assert [row["solution_log_likelihood"] for row in free] == pytest.approx(
        [row["solution_log_likelihood"] for row in bounded]
    )
    last_decoded = max(number for number, (_, length) in enumerate(sizes) if length == 1)
    likelihoods = [rows * length for rows, length in sizes[last_decoded + 1 :]]
    assert len(likelihoods) > 1
    assert all(tokens <= 300 for tokens in likelihoods), sizes


ANSWERS_CODE = ("2", "585a832f1bbca28f")
"""``ANSWERS_VERSION`` and the hash of the code that had this version."""


def test_the_version_of_the_answers_follows_the_code_that_computes_them():
    code = code_version_of("codeft_eval.generation.language_models:CachingLM", load_language_model)
    assert (ANSWERS_VERSION, code) == ANSWERS_CODE, (
        "the code that generates has changed: if a request now gets another answer, count ANSWERS_VERSION up, so that "
        "stored answers are computed again; in any case write the pair on the left into ANSWERS_CODE"
    )


def test_answers_of_another_version_are_not_found(tmp_path, monkeypatch):
    context = SimpleNamespace(
        benchmark=BENCHMARKS["embedded"],
        identity=RunIdentity(model="m", model_hash="m", settings={}, protocol_name="raw", protocol="raw"),
        output=tmp_path,
    )
    for version in ("1", "1", "2"):
        monkeypatch.setattr(runs, "ANSWERS_VERSION", version)
        with runs._open_answers(context) as store:
            store.put("completion", [("item", version)])
    assert len(list(tmp_path.glob("*.sqlite"))) == 2
