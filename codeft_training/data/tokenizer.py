"""Trains the tokenizer (byte-level BPE with ChatML, fill-in-the-middle, thinking tokens) or adopts the base model's.

Text is split by Qwen 2's regular expression (single digits, words, spaces before words), so that the result exports to
formats that know Qwen's. Every byte is in the alphabet: nothing is ever unknown, and decoding gives back the text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codeft_assets.base.files import file_hash, folder_hash, write_atomically
from codeft_training.data.corpus import Corpus
from codeft_training.data.tokenizer_sample import TokenizerSample

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX = "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"
THINK_TAGS = ("<think>", "</think>")
SPECIAL_TOKENS = (
    END_OF_TEXT,
    TURN_START,
    TURN_END,
    FIM_PREFIX,
    FIM_MIDDLE,
    FIM_SUFFIX,
    "<|fim_pad|>",
    *THINK_TAGS,
)
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
_GENERATION_MARKERS = re.compile(r"{%-?\s*(?:end)?generation\s*-?%}")
FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_MIN_VOCAB = 256 + len(SPECIAL_TOKENS)
SAMPLE_MEGABYTES = 100
"""Text that a vocabulary is learned from, by default: the time and memory of training grow with it."""
TOKENIZER_VERSION = "3"
"""Counts up when the same corpus gives another tokenizer; a test compares it with the code that makes one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerReport:
    """A tokenizer and how well it compresses held-out text."""

    content_hash: str
    vocab_size: int
    num_documents: int
    """Documents of its training; 0 if it is the base model's."""
    num_bytes: int
    """Bytes of their text."""
    sample_fraction: float
    """Their share of the text of all training documents."""
    bytes_per_token: dict[str, float]
    """By language, on the validation split (the training split where a language has no validation)."""


def train_tokenizer(
    corpus: Corpus, output: Path, *, vocab_size: int, sample_megabytes: int = SAMPLE_MEGABYTES
) -> TokenizerReport:
    """Train on the corpus and save a folder that ``AutoTokenizer`` loads; does nothing if it is up to date.

    Of a corpus with more text than ``sample_megabytes``, it reads a sample (``TokenizerSample``).

    Raises:
        ValueError: vocabulary or sample are too small, or there are no documents.
    """
    if vocab_size < _MIN_VOCAB:
        raise ValueError(
            f"vocab_size {vocab_size} must hold 256 bytes and {len(SPECIAL_TOKENS)} specials: {_MIN_VOCAB}"
        )

    def make() -> tuple[PreTrainedTokenizerFast, TokenizerSample]:
        sample = TokenizerSample(corpus, sample_megabytes)
        return _wrap(_train(sample, corpus.folder, vocab_size)), sample

    return _reuse_or_save(corpus, output, f"{vocab_size}-{sample_megabytes}MB", make)


def adopt_tokenizer(corpus: Corpus, output: Path, *, base_model: str) -> TokenizerReport:
    """Save the tokenizer of ``base_model``, a Hub id or folder, with our chat template, for fine-tuning.

    The template is ChatML as the base models of the Qwen 2.5 family know it, without a system turn of its own, and with
    generation markers around the tokens of the assistant. The end of a turn becomes the end-of-sequence token, as in
    other chat models: some programs stop at that one only.

    Raises:
        ValueError: the tokenizer lacks the tokens that end documents and delimit turns.
    """

    def make() -> tuple[PreTrainedTokenizerFast, None]:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(base_model)
        missing = sorted({END_OF_TEXT, TURN_START, TURN_END} - set(tokenizer.get_vocab()))
        if missing:
            raise ValueError(f"the tokenizer of {base_model!r} lacks {missing}; choose a base model that knows ChatML")
        tokenizer.chat_template, tokenizer.eos_token = _chat_template(), TURN_END
        return tokenizer, None

    return _reuse_or_save(corpus, output, base_model, make)


def _reuse_or_save(
    corpus: Corpus,
    output: Path,
    option: str,
    make: Callable[[], tuple[PreTrainedTokenizerFast, TokenizerSample | None]],
) -> TokenizerReport:
    """Return the report of the tokenizer in ``output``, which is made unless it is of this corpus, option and code."""
    identity = f"{corpus.content_hash}-{option}-{TOKENIZER_VERSION}-{file_hash(_CHAT_TEMPLATE)[:16]}"
    previous = _read_report(output)
    if previous is not None and previous["identity"] == identity:
        return TokenizerReport(**previous["report"])
    fast, sample = make()
    output.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(output)
    tokenizer = fast.backend_tokenizer
    report = TokenizerReport(
        content_hash=folder_hash(output, FILES),
        vocab_size=tokenizer.get_vocab_size(),
        num_documents=sample.num_documents if sample else 0,
        num_bytes=sample.num_bytes if sample else 0,
        sample_fraction=sample.num_bytes / sample.num_corpus_bytes if sample else 0.0,
        bytes_per_token=_bytes_per_token(tokenizer, corpus),
    )
    record = {"identity": identity, "report": {name: getattr(report, name) for name in report.__slots__}}
    write_atomically(output / "report.json", json.dumps(record, indent=1))
    return report


def _read_report(output: Path) -> dict[str, Any] | None:
    path = output / "report.json"
    if not path.is_file():
        return None
    record = json.loads(path.read_text())
    complete = all((output / name).is_file() for name in FILES)
    return record if complete and folder_hash(output, FILES) == record["report"]["content_hash"] else None


def _train(sample: TokenizerSample, folder: Path, vocab_size: int) -> Tokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample.texts(), trainer=trainer)
    if not sample.num_documents:
        raise ValueError(f"corpus {str(folder)!r} has no training documents; look at corpus/ledger for why")
    return _with_visible_think_tags(tokenizer)


def _with_visible_think_tags(tokenizer: Tokenizer) -> Tokenizer:
    """Make the think tags ordinary tokens, as in Qwen3: they are text of a turn, and decoding shows them.

    Control tokens can then be switched off in the text of a document while think tags are still one token each.
    """
    from tokenizers import Tokenizer

    record = json.loads(tokenizer.to_str())
    for token in record["added_tokens"]:
        token["special"] = token["content"] not in THINK_TAGS
    return Tokenizer.from_str(json.dumps(record))


def _wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token="<|fim_pad|>",  # noqa: S106  not a password; never in a document, so it can pad
        clean_up_tokenization_spaces=False,
        extra_special_tokens=[TURN_START, TURN_END],
    )
    fast.chat_template = _chat_template()
    return fast


def _chat_template() -> str:
    return _CHAT_TEMPLATE.read_text().rstrip("\n")


def plain_template(template: str) -> str:
    """Return a chat template without the marks around what is trained on, which transformers alone understands."""
    return _GENERATION_MARKERS.sub("", template)


def _bytes_per_token(tokenizer: Tokenizer, corpus: Corpus) -> dict[str, float]:
    num_bytes, num_tokens = Counter[str](), Counter[str]()
    for split in ("validation", "train"):
        known = set(num_bytes)
        for document in corpus.documents(split, columns=("text", "language")):
            language = document["language"]
            if language in known or num_bytes[language] > 300_000:
                continue
            num_bytes[language] += len(document["text"].encode())
            num_tokens[language] += len(tokenizer.encode_batch_fast([document["text"]])[0].ids)
    return {language: round(num_bytes[language] / max(num_tokens[language], 1), 3) for language in sorted(num_bytes)}
