"""A tokenizer is trained on a stated sample of a large corpus: as much of each source as of the whole."""

import pyarrow.parquet as pq
import pytest

from codeft_training.data.corpus import Corpus
from codeft_training.data.tokenizer import train_tokenizer
from codeft_training.data.tokenizer_sample import TokenizerSample
from tests.training.corpus_folder import plain, write_corpus

NUM_BYTES = 200 * 30_000


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return a corpus of 6 MB, a quarter of which is of another source."""
    rows = [plain(i) | {"text": f"{i} words\n" * 4000, "source": "a" if i % 4 else "b"} for i in range(200)]
    rows = [row | {"text": row["text"][:30_000]} for row in rows]
    return Corpus(write_corpus(tmp_path_factory.mktemp("large"), rows))


def sampled(corpus, megabytes):
    sample = TokenizerSample(corpus, megabytes)
    texts = list(sample.texts())
    return sample, [int(text.split()[0]) for text in texts]


def test_a_sample_is_no_larger_than_stated_and_has_each_source_in_its_proportion(large):
    sample, numbers = sampled(large, 2)
    assert sample.num_corpus_bytes == NUM_BYTES
    assert 1_400_000 < sample.num_bytes == len(numbers) * 30_000 <= 2_000_000
    assert 0.15 < sum(number % 4 == 0 for number in numbers) / len(numbers) < 0.35
    assert sampled(large, 2)[1] == numbers


def test_a_corpus_that_is_smaller_than_the_sample_is_read_whole(large):
    sample, numbers = sampled(large, 6)
    assert numbers == list(range(200))
    assert (sample.num_documents, sample.num_bytes) == (200, NUM_BYTES)


def test_an_empty_shard_is_read_like_any_other(tmp_path):
    corpus = Corpus(write_corpus(tmp_path, [plain(i) for i in range(3)]))
    shard = sorted(tmp_path.rglob("*.parquet"))[0]
    pq.write_table(pq.read_table(shard).slice(0, 0), shard)
    sample = TokenizerSample(corpus, 1)
    assert len(list(sample.texts())) == sample.num_documents < 3


def test_a_document_is_in_the_sample_by_its_id_not_by_its_place(large, tmp_path):
    rows = list(large.documents("train"))
    turned = Corpus(write_corpus(tmp_path, rows[::-1]))
    first, second = (set(sampled(corpus, 1)[1]) for corpus in (large, turned))
    assert len(first & second) > 0.8 * len(first)


def test_a_tokenizer_states_its_sample_and_another_sample_makes_it_again(large, tmp_path):
    one = train_tokenizer(large, tmp_path / "t", vocab_size=300, sample_megabytes=1)
    assert one.num_bytes <= 1_000_000
    assert one.sample_fraction == one.num_bytes / NUM_BYTES
    assert train_tokenizer(large, tmp_path / "t", vocab_size=300, sample_megabytes=1) == one
    assert train_tokenizer(large, tmp_path / "t", vocab_size=300, sample_megabytes=6).sample_fraction == 1


def test_a_sample_that_can_hold_nothing_is_refused(large, tmp_path):
    with pytest.raises(ValueError, match="sample_megabytes 0 must be at least 1"):
        train_tokenizer(large, tmp_path / "t", vocab_size=300, sample_megabytes=0)
    huge = Corpus(write_corpus(tmp_path / "c", [plain(1) | {"text": "x = 1\n" * 400_000}]))
    with pytest.raises(ValueError, match="no whole document; raise sample_megabytes"):
        train_tokenizer(huge, tmp_path / "t", vocab_size=300, sample_megabytes=1)
