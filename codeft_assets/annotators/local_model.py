"""An annotator that runs on this machine: a transformers model from the Hub or a folder; needs the extra ``train``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from codeft_assets.base.calls import CallJournal, Reply
from codeft_assets.curation.quality.annotation import Question
from codeft_assets.origins.errors import MissingUpstreamError


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalModelAnnotator:
    """Answers greedily, in batches of prompts of like length; in bf16 on a GPU."""

    model: str
    """A Hub id or a folder."""
    batch_prompts: int = 8
    max_answer_tokens: int = 256

    @property
    def identity(self) -> str:
        """The model and the longest answer."""
        return f"model {self.model} greedy tokens {self.max_answer_tokens}"

    def answer(self, questions: Sequence[Question], journal: CallJournal) -> None:
        """Answer every question once.

        Raises:
            MissingUpstreamError: there is no such model.
        """
        tokenizer, model = self._load()
        for batch in self._batches(questions):
            for question in batch:
                journal.sent(question.key)
            for question, reply in zip(batch, self._generate(tokenizer, model, batch), strict=True):
                journal.answered(question.key, reply)

    def _load(self) -> tuple[Any, Any]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        on_gpu = torch.cuda.is_available()
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, padding_side="left")
            dtype = torch.bfloat16 if on_gpu else torch.float32
            model: Any = AutoModelForCausalLM.from_pretrained(self.model, dtype=dtype)
        except (OSError, ValueError) as error:
            raise MissingUpstreamError(
                f"model {self.model!r} cannot be loaded: {error}; name a Hub id or folder with a causal language model"
            ) from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer, (model.cuda() if on_gpu else model).eval()

    def _batches(self, questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
        by_length = sorted(questions, key=lambda question: len(question.prompt))
        for start in range(0, len(by_length), self.batch_prompts):
            yield by_length[start : start + self.batch_prompts]

    def _generate(self, tokenizer: Any, model: Any, batch: Sequence[Question]) -> list[Reply]:
        import torch

        prompts = [_as_user_turn(tokenizer, question.prompt) for question in batch]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False).to(model.device)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            output = model.generate(
                **inputs, max_new_tokens=self.max_answer_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
            )
        written = output[:, inputs["input_ids"].shape[1] :]
        texts = tokenizer.batch_decode(written, skip_special_tokens=True)
        num_input = inputs["attention_mask"].sum(dim=1).tolist()
        num_output = (written != tokenizer.pad_token_id).sum(dim=1).tolist()
        return [
            Reply(content=text, input_tokens=int(num_in), output_tokens=int(num_out))
            for text, num_in, num_out in zip(texts, num_input, num_output, strict=True)
        ]


def _as_user_turn(tokenizer: Any, prompt: str) -> str:
    """Return the prompt as the user's turn of the model's own template, or as it is where it has none."""
    if tokenizer.chat_template is None:
        return prompt
    turns = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
