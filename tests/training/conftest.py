"""One tokenizer and one packed corpus for all training tests: they take seconds to make and never change."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Inductor compiles scalar kernels, without first compiling what shows which vectors this machine has
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "0")


@pytest.fixture(scope="module")
def one_thread():
    """Train on one thread: on more, sums may end in other bits."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    from codeft_training.data.corpus import Corpus
    from codeft_training.data.packing import pack
    from codeft_training.data.tokenizer import train_tokenizer
    from tests.training.corpus_folder import default_rows, write_corpus

    root = tmp_path_factory.mktemp("training")
    corpus = Corpus(write_corpus(root / "corpus", default_rows()))
    train_tokenizer(corpus, root / "tokenizer", vocab_size=320)
    pack(corpus, root / "tokenizer", root / "packed", context_tokens=64)
    return root
