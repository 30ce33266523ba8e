"""Tasks of lm-eval as scores of ours: lm-eval's own numbers, from local files; refused where they cannot be had."""

import importlib.util
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from codeft_eval.__main__ import main
from codeft_eval.benchmarks.catalogue import benchmark_texts, get_benchmark, is_available, is_runnable, load_items
from codeft_eval.benchmarks.datafiles import FOLDER_VARIABLE, read_rows
from codeft_eval.benchmarks.lm_eval_benchmarks import TASKS_VARIABLE
from codeft_eval.benchmarks.lm_eval_data import INCLUDE_VARIABLE, load_task
from codeft_eval.scoring.options import Options
from codeft_eval.scoring.runs import run_checkpoint
from codeft_eval.scoring.samples import read_samples
from tests.eval.checkpoints import write_checkpoint

METRIC = "metric_list: [{{metric: {name}, aggregation: mean, higher_is_better: true}}]"
TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
{more}
"""


@pytest.fixture
def name_tasks(monkeypatch, tmp_path):
    def name(*names, include="", data=""):
        monkeypatch.setenv(TASKS_VARIABLE, ",".join(names))
        monkeypatch.setenv(INCLUDE_VARIABLE, str(include))
        monkeypatch.setenv(FOLDER_VARIABLE, str(data))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        read_rows.cache_clear()

    return name


@pytest.fixture
def arc(tmp_path, name_tasks):
    """The form in which the Hub has the dataset, with questions of our own."""
    folder = tmp_path / "data" / "allenai" / "ai2_arc" / "ARC-Easy"
    folder.mkdir(parents=True)
    words = ["moss", "a lamp", "seven stones", "rain", "the north wind", "salt", "an old oak tree", "glass"]
    rows = [
        {
            "id": str(number),
            "question": f"Which of these is number {number * 7 % 11}?",
            "choices": {"text": [words[(number * step) % 8] + "." * step for step in (1, 2, 3)],
                        "label": ["A", "B", "C"]},
            "answerKey": "ABC"[number * 5 % 3],
        }
        for number in range(23)
    ]  # fmt: skip
    for split in ("train", "validation", "test"):
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")
    name_tasks("arc_easy", data=tmp_path / "data")
    return rows


def write_task(folder, name, rows, more):
    folder.mkdir(exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    # not called like its task
    (folder / f"file_of_{name}.yaml").write_text(TASK.format(name=name, rows=data, more=more))
    return folder


def of_lm_eval(name, checkpoint, **options):
    model = HFLM(pretrained=str(checkpoint), batch_size=16, dtype="float32", device="cpu")
    found = simple_evaluate(model=model, tasks=[load_task(name)], task_manager=TaskManager(include_defaults=False),
                            bootstrap_iters=0, **options)  # fmt: skip
    return {key.split(",")[0]: value for key, value in found["results"][name].items() if key.endswith(",none")}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_likelihood_task_has_lm_evals_own_numbers_to_the_last_digit(arc, tmp_path, seed):
    checkpoint = write_checkpoint(tmp_path / "m", seed=seed)
    score = run_checkpoint(checkpoint, get_benchmark("lm_eval_arc_easy"), tmp_path / "o", Options())
    expected = of_lm_eval("arc_easy", checkpoint)
    assert {name: score.metrics[name].value for name in ("acc", "acc_norm")} == {
        name: expected[name] for name in ("acc", "acc_norm")
    }
    assert 0 < score.metrics["acc"].low < score.metrics["acc"].value < score.metrics["acc"].high < 1
    assert score.metrics["pass@1"] == score.metrics["acc"]
    assert (score.num_scored, score.num_unscored, score.num_items_total) == (23, 0, 23)


def test_answers_are_stored_and_not_computed_again(arc, tmp_path, monkeypatch):
    checkpoint = write_checkpoint(tmp_path / "m")
    first = run_checkpoint(checkpoint, get_benchmark("lm_eval_arc_easy"), tmp_path / "o", Options())
    monkeypatch.setattr(HFLM, "loglikelihood", lambda *_, **__: pytest.fail("computed again"))
    again = run_checkpoint(checkpoint, get_benchmark("lm_eval_arc_easy"), tmp_path / "o", Options())
    assert again.content_hash == first.content_hash


def test_its_texts_are_decontaminated_against_where_they_are_there(arc, name_tasks):
    texts = benchmark_texts("lm_eval_arc_easy")
    assert texts[0] == {"benchmark": "lm_eval_arc_easy", "task_id": "arc_easy/0", "kind": "text", "field": "prompt",
                        "text": f"Question: {arc[0]['question']}\nAnswer:"}  # fmt: skip
    assert next(text["text"] for text in texts if text["field"] == "solution") == arc[0]["choices"]["text"][0]
    assert is_available(get_benchmark("lm_eval_arc_easy"))
    name_tasks("arc_easy")
    assert not is_available(get_benchmark("lm_eval_arc_easy"))
    assert is_runnable(get_benchmark("lm_eval_arc_easy"))  # an asset all the same: its run says what is missing


def test_a_prompt_that_leaves_no_room_is_unscored(arc, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "m", context_tokens=60)
    score = run_checkpoint(checkpoint, get_benchmark("lm_eval_arc_easy"), tmp_path / "o", Options())
    assert set(score.unscored_reasons) == {"prompt_too_long"}
    assert 0 < score.num_scored < 23
    assert score.metrics["acc"].n == score.num_scored


ROWS = [{"question": f"def f(x):\n    return {number}", "answer": text} for number, text in enumerate("x)\n9 (")]


@pytest.mark.parametrize(
    ("more", "metric"),
    [
        ("output_type: loglikelihood\n" + METRIC.format(name="acc"), "acc"),
        ("output_type: generate_until\ngeneration_kwargs: {until: [')'], max_gen_toks: 3}\n"
         + METRIC.format(name="exact_match"), "exact_match"),
        ("num_fewshot: 2\nfewshot_split: test\noutput_type: loglikelihood\n" + METRIC.format(name="acc"), "acc"),
    ],
)  # fmt: skip
def test_tasks_of_a_folder_have_lm_evals_own_numbers(name_tasks, tmp_path, more, metric):
    checkpoint = write_checkpoint(tmp_path / "m")
    folder = write_task(tmp_path / "tasks", "mine", ROWS, more)
    name_tasks("mine", include=folder)
    model = HFLM(pretrained=str(checkpoint), device="cpu")
    # the model's own continuation is the answer of one row, so that not all are wrong
    tokens = model.tok_encode(ROWS[0]["question"])
    greedy = model.tokenizer.decode(model._model_generate(model.tokenizer(ROWS[0]["question"], return_tensors="pt")
                                    .input_ids, max_length=len(tokens) + 3, stop=[])[0][len(tokens):])  # fmt: skip
    write_task(tmp_path / "tasks", "mine", [ROWS[0] | {"answer": greedy}, *ROWS[1:]], more)
    score = run_checkpoint(checkpoint, get_benchmark("lm_eval_mine"), tmp_path / "o", Options())
    assert score.metrics[metric].value == of_lm_eval("mine", checkpoint)[metric]
    assert len(list(read_samples(tmp_path / "o"))) == len(ROWS)


def test_a_limit_takes_the_first_documents(arc, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "m")
    score = run_checkpoint(checkpoint, get_benchmark("lm_eval_arc_easy"), tmp_path / "o", Options(limit=5))
    assert score.metrics["acc"].value == of_lm_eval("arc_easy", checkpoint, limit=5)["acc"]
    assert (score.num_items, score.num_items_total) == (5, 23)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_task", r"there is no task 'no_such_task' in lm-eval .* and the folders of CODEFT_LM_EVAL_INCLUDE"),
        ("arc_easy", r"data of lm-eval's task 'arc_easy' is not here; run `hf download allenai/ai2_arc .*name FOLDER"),
        ("humaneval", r"runs model-written code without a sandbox; score a benchmark of ours"),
        ("wikitext", r"needs rolling likelihoods"),
        ("squadv2", r"is a Python class"),
    ],
)
def test_a_task_that_cannot_be_scored_says_why_and_what_to_do(name_tasks, name, message, tmp_path):
    name_tasks(name)
    with pytest.raises(ValueError, match=message):
        load_items(get_benchmark(f"lm_eval_{name}"))


def test_a_task_without_right_and_wrong_and_one_that_does_not_load_are_refused(name_tasks, tmp_path):
    checkpoint = write_checkpoint(tmp_path / "m")
    more = "output_type: generate_until\n" + METRIC.format(name="not_a_metric")
    name_tasks("mine", include=write_task(tmp_path / "tasks", "mine", ROWS, more))
    with pytest.raises(ValueError, match=r"'mine' has the metric 'not_a_metric', which lm-eval would download; name"):
        load_items(get_benchmark("lm_eval_mine"))
    rows = [row | {"answer": {}} for row in ROWS]
    more = "output_type: no_such_type\n" + METRIC.format(name="acc")
    name_tasks("third", include=write_task(tmp_path / "tasks", "third", rows, more))
    with pytest.raises(ValueError, match=r"'third' does not load: .*nothing is downloaded"):
        load_items(get_benchmark("lm_eval_third"))
    more = "output_type: loglikelihood\nmetric_list: [{metric: perplexity, aggregation: perplexity}]"
    name_tasks("other", include=write_task(tmp_path / "tasks", "other", ROWS, more))
    with pytest.raises(ValueError, match=r"metrics \['perplexity'\], and none is 0 or 1 for each item; name a task"):
        run_checkpoint(checkpoint, get_benchmark("lm_eval_other"), tmp_path / "o", Options())


def test_a_name_that_is_none_is_refused_before_anything_runs(name_tasks, capsys):
    name_tasks("arc easy")
    assert main(["check", "--benchmark", "embedded"]) == 2
    assert "names 'arc easy': a task's name has letters" in capsys.readouterr().err


def write_dataset(folder, rows, *splits):
    """Write a dataset in the form in which the Hub has it."""
    folder.mkdir(parents=True)
    for split in splits:
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")


def test_hellaswag_has_lm_evals_own_numbers(name_tasks, tmp_path):
    """Its prompts and endings are made by a function of lm-eval's, not by the columns."""
    words = ["rolls", "sings [step] low", "  waits", "draws a map", "melts", "turns [title] away"]
    rows = [
        {
            "ind": number, "activity_label": "Walking", "ctx_a": f"A fox of {number} years", "ctx_b": "it then",
            "ctx": "", "endings": [words[(number * step + step) % 6] + "." * step for step in (1, 2, 3, 4)],
            "source_id": "", "split": "val", "split_type": "indomain", "label": str(number % 3 % 2),
        }
        for number in range(19)
    ]  # fmt: skip
    write_dataset(tmp_path / "data" / "Rowan" / "hellaswag" / "data", rows, "train", "validation", "test")
    name_tasks("hellaswag", data=tmp_path / "data")
    checkpoint = write_checkpoint(tmp_path / "m", seed=1)
    score = run_checkpoint(checkpoint, get_benchmark("lm_eval_hellaswag"), tmp_path / "o", Options())
    expected = of_lm_eval("hellaswag", checkpoint)
    for name in ("acc", "acc_norm"):
        assert score.metrics[name].value == expected[name]
    assert 0 < score.metrics["acc"].value < 1
    assert score.num_scored == 19


@pytest.fixture
def ifeval(name_tasks, tmp_path):
    rows = [{"key": 1, "prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"n": None}]}]
    write_dataset(tmp_path / "data" / "google" / "IFEval", rows, "train")
    name_tasks("ifeval", data=tmp_path / "data")
    return get_benchmark("lm_eval_ifeval")


def test_ifeval_without_the_packages_of_its_check_names_their_extra(ifeval, monkeypatch):
    """They are no dependency of ours, and lm-eval imports them with the task."""
    for package in ("langdetect", "immutabledict"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=r"lm-eval's task 'ifeval'.*langdetect.*; pip install 'lm-eval\[ifeval\]'"):
        load_items(ifeval)


def test_a_task_downloads_no_data_of_nltk(name_tasks, tmp_path):
    """As ifeval's does when it is imported; a failed download would show only after the completions are written."""
    (tmp_path / "functions.py").write_text("import nltk\nnltk.download('punkt_tab')\n\ndef text(document):\n    pass\n")
    task = TASK.format(name="own", rows=tmp_path / "rows.jsonl", more=METRIC.format(name="exact_match"))
    (tmp_path / "own.yaml").write_text(task.replace('"{{question}}"', "!function functions.text"))
    name_tasks("own", include=tmp_path)
    with pytest.raises(ValueError, match=r"NLTK's data 'punkt_tab' is not here; run `python -m nltk.downloader"):
        load_items(get_benchmark("lm_eval_own"))


def test_ifeval_is_scored_where_its_packages_and_data_are(ifeval, tmp_path):
    if not (importlib.util.find_spec("langdetect") and importlib.util.find_spec("immutabledict")):
        pytest.skip("lm-eval[ifeval] is not installed")
    import nltk
    from nltk.tokenize.punkt import PunktParameters, save_punkt_params

    folder = tmp_path / "tokenizers" / "punkt_tab"
    folder.mkdir(parents=True)
    nltk.data.path.insert(0, str(tmp_path))
    try:
        save_punkt_params(PunktParameters(), str(folder / "english"))
        score = run_checkpoint(write_checkpoint(tmp_path / "m", seed=1), ifeval, tmp_path / "o", Options())
    finally:
        nltk.data.path.remove(str(tmp_path))
    assert score.num_scored == 1
    assert score.metrics.keys() >= {"prompt_level_strict_acc", "prompt_level_loose_acc"}
