"""The encoder from the Hub: one vector per text, whatever its batch, computed once. Its models are made here."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from codeft_assets.annotators import hub_encoder
from codeft_assets.annotators.hub_encoder import length_buckets, open_embedding, open_encoder
from codeft_assets.curation.quality.classifier import (
    deserialize_classifier,
    fit_classifier,
    score_documents,
    serialize_classifier,
)
from codeft_assets.origins.errors import MissingUpstreamError
from codeft_assets.stages.code_version import code_version_of
from tests.assets.test_classifier import documents

WORDS = ["a", "loop", "counts", "to", "ten", "because", "it", "must"]
TEXTS = ["a loop counts to ten", "because", "", "it must " * 40, "ten " * 7]

pytestmark = pytest.mark.slow  # torch and transformers take seconds to import


def write_model(folder, *, hidden=16, seed=0):
    """Write a random model in the Hub's format."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    words = {word: number for number, word in enumerate(["[unk]", "[end]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[unk]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="[end]").save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(words), hidden_size=hidden, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, intermediate_size=32, max_position_embeddings=256,
    )  # fmt: skip
    Qwen3Model(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("encoder"))


def test_a_vector_is_the_mean_of_the_last_hidden_states_of_its_text_alone(cache, model):
    import torch

    tokenizer, loaded = hub_encoder._loaded(model, open_encoder(model).revision)
    vectors = open_encoder(model).vectors(pa.array(TEXTS))
    for text, vector in zip(TEXTS, vectors, strict=True):
        if not text:
            assert not vector.any()
            continue
        with torch.inference_mode():
            states = loaded(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).last_hidden_state
        mean = states[0].mean(dim=0).numpy()
        assert vector == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_a_vector_does_not_depend_on_the_other_texts(cache, model, tmp_path, monkeypatch):
    together = open_encoder(model).vectors(pa.array(TEXTS))
    monkeypatch.setenv("CODEFT_CACHE", str(tmp_path / "another"))
    alone = [open_encoder(model).vectors(pa.array([text]))[0] for text in TEXTS]
    assert together == pytest.approx(np.array(alone), abs=1e-5)


def test_a_text_that_is_known_is_not_computed_again(cache, model, monkeypatch):
    encoder = open_encoder(model)
    first = encoder.vectors(pa.array(TEXTS))
    computed = []
    monkeypatch.setattr(
        hub_encoder, "_mean_pooled", lambda model, ids, pad: computed.append(ids) or np.ones((len(ids), 16))
    )
    assert np.array_equal(encoder.vectors(pa.array(TEXTS[::-1])), first[::-1])
    assert computed == []
    encoder.vectors(pa.array([*TEXTS, "a new loop"]))
    assert [len(ids) for ids in computed] == [1]


def test_vectors_of_another_version_are_computed_again(cache, model, monkeypatch):
    encoder = open_encoder(model)
    first = encoder.vectors(pa.array(TEXTS))
    monkeypatch.setattr(hub_encoder, "VECTORS_VERSION", "next")
    monkeypatch.setattr(hub_encoder, "_mean_pooled", lambda model, ids, pad: np.ones((len(ids), 16)))
    assert not np.array_equal(encoder.vectors(pa.array(TEXTS)), first)


VECTORS_CODE = ("1", "f93126c9fe9644a6")
"""``VECTORS_VERSION`` and the hash of the code that had this version."""


def test_the_version_of_the_vectors_follows_the_code_that_computes_them():
    assert (hub_encoder.VECTORS_VERSION, code_version_of(hub_encoder.HubEncoder)) == VECTORS_CODE, (
        "the code of the encoder has changed: if a text now gets another vector, count VECTORS_VERSION up, so that "
        "cached vectors are computed again; in any case write the pair on the left into VECTORS_CODE"
    )


def test_a_run_that_is_killed_computes_no_batch_again(cache, model, monkeypatch):
    encoder = open_encoder(model)
    compute, sizes = hub_encoder._mean_pooled, []

    def compute_until_killed(loaded, ids, pad):
        if len(sizes) == 1:
            raise KeyboardInterrupt
        sizes.append(len(ids))
        return compute(loaded, ids, pad)

    monkeypatch.setattr(hub_encoder, "_mean_pooled", compute_until_killed)
    texts = pa.array(["loop " * number for number in range(1, 9)])
    small = replace(encoder, batch_tokens=16)
    with pytest.raises(KeyboardInterrupt):
        small.vectors(texts)
    monkeypatch.setattr(
        hub_encoder, "_mean_pooled", lambda loaded, ids, pad: sizes.append(len(ids)) or compute(loaded, ids, pad)
    )
    assert np.isfinite(small.vectors(texts)).all()
    assert sum(sizes) == 8


def test_other_weights_are_another_encoder(cache, model, tmp_path):
    other = write_model(tmp_path / "other", seed=1)
    first, second = open_encoder(model), open_encoder(other)
    assert first.revision != second.revision
    assert not np.allclose(first.vectors(pa.array(TEXTS[:1])), second.vectors(pa.array(TEXTS[:1])))


def test_only_the_first_tokens_are_read(cache, model):
    encoder = open_encoder(model, max_tokens=3)
    first, second = encoder.vectors(pa.array(["a loop counts to ten", "a loop counts because"]))
    assert first == pytest.approx(second, abs=1e-5)


@pytest.mark.parametrize("lengths", [[3, 9, 1, 0, 9, 200], [], [500], [1] * 50])
def test_a_batch_holds_each_row_once_and_no_more_than_its_tokens(lengths):
    batches = list(length_buckets(lengths, 64))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= 64 or len(batch) == 1
    # padding wastes little: rows of like length share a batch
    assert [max(lengths[r] for r in b) for b in batches] == sorted([max(lengths[r] for r in b) for b in batches])[::-1]


def test_the_forest_reads_the_encoder_and_opens_it_again(cache, model):
    encoder = open_encoder(model)
    classifier = fit_classifier(documents(), seed=1, embedding=encoder)
    held = documents(10)
    expected = score_documents(classifier, held.text, held.language)
    assert {"encoder_0", "encoder_15"} <= set(classifier.ranker.feature_shares())
    again = deserialize_classifier(serialize_classifier(classifier), open_embedding=open_embedding)
    assert score_documents(again, held.text, held.language).equals(expected)
    with pytest.raises(ValueError, match="embedding 'hub' is not built in"):
        deserialize_classifier(serialize_classifier(classifier))


def test_an_encoder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingUpstreamError, match="cannot be opened"):
        open_encoder(str(tmp_path))
