"""A teacher in this process: a checkpoint folder, run by the engine that evaluation uses."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codeft_assets.base.calls import CallJournal, Reply
from codeft_assets.exercises.taught.prompts import SETTINGS, Request
from codeft_eval.generation.decoding import Decoding, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTeacher:
    """Goes on from prompts in batches of thousands, on a GPU where there is one."""

    folder: Path
    """As ``save_pretrained`` writes it."""
    seed: int = 0
    batch_size: int = 2048
    _loaded: list[Any] = field(default_factory=list, repr=False)
    """Tokenizer, model and ends of a text, once they are needed."""

    @property
    def identity(self) -> str:
        """The model and its sampling."""
        return f"model {self.folder.name} seed {self.seed} {SETTINGS}"

    def answer(self, requests: Sequence[Request], journal: CallJournal) -> None:
        """Answer every request; answers are on the disk a few hundred at a time.

        Raises:
            ValueError: the folder holds no model.
        """
        for (stops, temperature), group in itertools.groupby(requests, lambda asked: (asked.stops, asked.temperature)):
            for replies in self._replies(list(group), stops, temperature):
                journal.answered_all(replies)

    def _replies(
        self, requests: Sequence[Request], stops: tuple[str, ...], temperature: float
    ) -> Iterator[list[tuple[str, Reply]]]:
        from codeft_eval.generation.engines import in_graphs

        tokenizer, model, ends = self._load()
        decoding = Decoding(
            stops=stops,
            temperature=temperature,
            seed=self.seed,
            batch_size=self.batch_size,
            stop_token_ids=ends,
        )
        prompts = _prompts(tokenizer, requests, model.config.max_position_embeddings)
        for found in in_graphs(model, tokenizer, prompts, decoding, lambda key: True):
            counts = map(len, tokenizer(list(found.values()), add_special_tokens=False)["input_ids"])
            yield [
                (prompt.task_id, Reply(content=text, input_tokens=len(prompt.tokens), output_tokens=count))
                for (prompt, text), count in zip(found.items(), counts, strict=True)
            ]

    def _load(self) -> tuple[Any, Any, tuple[int, ...]]:
        if not self._loaded:
            self._loaded.extend(_load(self.folder))
        tokenizer, model, ends = self._loaded
        return tokenizer, model, ends


def _load(folder: Path) -> tuple[Any, Any, tuple[int, ...]]:
    """Return tokenizer, model and the tokens that end a text, in bfloat16 on a GPU."""
    os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="true")
    import torch
    from transformers import AutoModelForCausalLM

    from codeft_eval.generation.prompts import load_tokenizer, stop_token_ids

    if not (folder / "config.json").is_file():
        raise ValueError(f"teacher {str(folder)!r} has no config.json; give a folder that save_pretrained wrote")
    on_gpu = torch.cuda.is_available()
    torch.backends.cuda.enable_cudnn_sdp(False)  # gives other texts in a second run: codeft_eval/generation
    tokenizer = load_tokenizer(folder)
    dtype = torch.bfloat16 if on_gpu else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    return tokenizer, (model.cuda() if on_gpu else model).eval(), stop_token_ids(folder, tokenizer)


def _prompts(tokenizer: Any, requests: Sequence[Request], context: int) -> list[Prompt]:
    """Return the requests as tokens; equal texts are tokenized once, as samples share theirs.

    Raises:
        ValueError: one does not fit.
    """
    distinct = {request.raw: request for request in requests}
    encoded = tokenizer(_texts(tokenizer, list(distinct.values())), add_special_tokens=not tokenizer.chat_template)
    tokens = dict(zip(distinct, map(tuple, encoded["input_ids"]), strict=True))
    prompts = []
    for request in requests:
        found = tokens[request.raw]
        limit = min(request.max_tokens, context - len(found))
        if limit < 1:
            raise ValueError(
                f"the teacher's context of {context} tokens does not hold a prompt of {len(found)}; choose another one"
            )
        prompts.append(Prompt(task_id=request.key, sample=0, tokens=found, max_new_tokens=limit))
    return prompts


def _texts(tokenizer: Any, requests: Sequence[Request]) -> list[str]:
    """Return requests as the model goes on from them; their common end must not lie within a token."""
    from codeft_eval.generation.prompts import chat_prompt, joins_the_boundary

    def text(request: Request) -> str:
        is_chat = request.is_chat and tokenizer.chat_template
        return chat_prompt(tokenizer, request.question, request.answer_start) if is_chat else request.raw

    texts = [text(request) for request in requests]
    is_cut = joins_the_boundary(tokenizer, texts[0], "    return")
    return [found.rstrip() for found in texts] if is_cut else texts
