"""Mixture search: a source of noise gets no weight, and what was run is not run again."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest

from codeft_training.data.corpus import Corpus
from codeft_training.data.tokenizer import train_tokenizer
from codeft_training.measure.mixture_regression import best_mixture, draw_mixtures, fit_losses
from codeft_training.recipes import RECIPES
from codeft_training.run_spec import Stopped
from codeft_training.train.mixture_search import FOUND, NATURAL, MixtureSearch, search_mixture
from tests.training.children import TINY, Collected
from tests.training.corpus_folder import plain, write_corpus

pytestmark = pytest.mark.usefixtures("one_thread")


class Unstopped:
    is_set = False


def noise(number, split):
    rng = random.Random(number)
    text = "".join(chr(rng.randint(33, 126)) for _ in range(400))
    return plain(number, split=split, domain="math") | {"source": "noise", "text": text}


def test_a_source_of_noise_gets_no_weight_in_a_regression():
    natural = [0.5, 0.3, 0.2]
    mixtures = draw_mixtures(natural, 24, seed=3)
    rng = np.random.default_rng(1)
    # the first two teach with diminishing returns, the third nothing
    losses = 3 - np.sqrt(mixtures[:, 0]) - np.sqrt(mixtures[:, 1]) + rng.normal(scale=0.01, size=24)
    regression = fit_losses(mixtures, losses)
    found = best_mixture(regression, natural, seed=3)
    assert found.sum() == pytest.approx(1)
    assert found[2] < 0.03
    assert found[0] == pytest.approx(0.5, abs=0.12)
    assert regression.rank_correlation > 0.9
    assert abs(fit_losses(mixtures, rng.normal(size=24)).rank_correlation) < 0.6  # nothing to find, nothing claimed


def test_drawn_mixtures_are_shares_of_every_spread():
    mixtures = draw_mixtures([0.98, 0.02], 200, seed=1)
    assert np.allclose(mixtures.sum(axis=1), 1)
    assert mixtures[:, 1].max() > 0.7
    assert mixtures[:, 1].min() < 0.05
    assert np.array_equal(mixtures, draw_mixtures([0.98, 0.02], 200, seed=1))
    with pytest.raises(ValueError, match="3 runs are too few"):
        fit_losses(mixtures[:3], [1.0, 2.0, 3.0])


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    root = tmp_path_factory.mktemp("search")
    rows = [plain(i, lines=14) for i in range(40)] + [noise(100 + i, "train") for i in range(40)]
    rows += [plain(200 + i, split="validation") for i in range(4)] + [noise(300 + i, "validation") for i in range(4)]
    train_tokenizer(Corpus(write_corpus(root / "corpus", rows)), root / "tokenizer", vocab_size=320)
    recipe = RECIPES["smoke"].override(**TINY).override(max_steps=16, accumulation_steps=1, validate_every_steps=16)
    folders = {"corpus": root / "corpus", "tokenizer": root / "tokenizer", "output": root / "out"}
    return MixtureSearch(**folders, recipe=recipe, num_runs=6, target="bits_per_byte_code")


def test_noise_gets_no_weight_from_runs_and_finished_runs_are_kept(search):
    reporter = Collected()
    found = search_mixture(search, reporter, Unstopped())
    assert found["shares"]["noise"] < 0.1 < found["natural_shares"]["noise"]
    assert found["measured"][FOUND] < found["measured"][NATURAL]
    assert len(reporter.lines) == 8
    assert found["num_tokens"] == 8 * 16 * search.recipe.data.tokens_per_step
    again = Collected()
    assert search_mixture(search, again, Unstopped()) == found
    assert again.lines == []
    more = Collected()
    search_mixture(replace(search, num_runs=7), more, Unstopped())
    assert {"6"} <= {line.split()[1] for line in more.lines} <= {"6", FOUND}  # the other runs are known
    assert not (search.output / "proxy").exists()


def test_seeds_and_evaluation_texts_measure_what_they_name(search, tmp_path):
    """More seeds cost two runs each; another target, or other texts, is no finished run."""
    search_mixture(search, Collected(), Unstopped())
    more = Collected()
    found = search_mixture(replace(search, num_seeds=2), more, Unstopped())
    assert [line.split()[1] for line in more.lines] == [f"{NATURAL}-2", f"{FOUND}-2"]
    for name, losses in found["measured_by_seed"].items():
        assert len({*losses}) == 2
        assert found["measured"][name] == pytest.approx(sum(losses) / 2, abs=1e-5)
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"domain": "unseen", "text": "def add(a, b):\n    return a + b\n"}) + "\n")
    other = replace(search, num_runs=4, target="probe_bits_per_byte_unseen", eval_texts=texts)
    again = Collected()
    assert search_mixture(other, again, Unstopped())["measured"] != found["measured"]
    assert len(again.lines) == 6
    with pytest.raises(ValueError, match="num_seeds 0 must be at least 1"):
        replace(search, num_seeds=0)


def test_a_search_is_stopped_and_goes_on(search, tmp_path):
    stop = Unstopped()
    stop.is_set = True
    with pytest.raises(Stopped):
        search_mixture(replace(search, output=tmp_path), Collected(), stop)
    assert not (tmp_path / "search.json").exists()


def test_a_search_that_cannot_work_is_refused(search, tmp_path):
    with pytest.raises(ValueError, match="target 'bits_per_byte_poetry' is not measured; there are"):
        search_mixture(replace(search, output=tmp_path, target="bits_per_byte_poetry"), Collected(), Unstopped())
    with pytest.raises(ValueError, match="2 runs are too few"):
        replace(search, num_runs=2)
