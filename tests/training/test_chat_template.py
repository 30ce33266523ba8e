"""The chat template renders text in every form that clients send, refuses other content, and is plain Jinja."""

import jinja2
import pytest

from codeft_training.data.tokenizer import plain_template

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "  2 + 2?\n"},
    {"role": "assistant", "content": "<think>\nsum\n</think>\n\nFour."},
    {"role": "user", "content": "Sure?"},
]
RENDERED = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n  2 + 2?\n<|im_end|>\n"
    "<|im_start|>assistant\n<think>\nsum\n</think>\n\nFour.<|im_end|>\n<|im_start|>user\nSure?<|im_end|>\n"
    "<|im_start|>assistant\n"
)


@pytest.fixture(scope="module")
def tokenizer(made):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(made / "tokenizer")


def render(tokenizer, messages, **options):
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options)


def test_the_template_of_training_renders_chatml(tokenizer):
    assert render(tokenizer, MESSAGES) == RENDERED


@pytest.mark.parametrize("options", [{}, {"trim_blocks": True, "lstrip_blocks": True}])
def test_the_template_that_leaves_the_house_is_plain_jinja(tokenizer, options):
    template = jinja2.Environment(**options).from_string(plain_template(tokenizer.chat_template))
    assert template.render(messages=MESSAGES, add_generation_prompt=True) == RENDERED
    assert template.render(messages=MESSAGES[:1]) == RENDERED[: RENDERED.index("<|im_start|>user")]


def test_parts_of_text_are_put_together(tokenizer):
    parts = [{"type": "text", "text": "2 "}, {"type": "text", "text": "+ 2?"}]
    for role in ("user", "assistant"):
        whole = render(tokenizer, [{"role": role, "content": "2 + 2?"}])
        assert render(tokenizer, [{"role": role, "content": parts}]) == whole


def test_empty_lists_of_tools_and_calls_are_no_tools(tokenizer):
    message = MESSAGES[1] | {"tool_calls": None}
    assert render(tokenizer, [message], tools=[]) == render(tokenizer, [MESSAGES[1]])


CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 2}}}


@pytest.mark.parametrize(
    ("message", "options", "reason"),
    [
        ({"role": "user"}, {}, "a message of user has no text: give its content as a string"),
        ({"role": "assistant", "content": None}, {}, "a message of assistant has no text"),
        ({"role": "user", "content": {"type": "text", "text": "a"}}, {}, "a message of user has no text"),
        (
            {"role": "user", "content": [{"type": "image"}]},
            {},
            "has a part that is no text: this model reads text only",
        ),
        ({"role": "user", "content": ["a"]}, {}, "has a part that is no text"),
        ({"role": "user", "content": "a"}, {"tools": [CALL]}, "trained without tools: leave tools out"),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, {}, "leave out tool calls"),
        ({"role": "tool", "content": "4"}, {}, "leave out tool calls and messages of the role tool"),
    ],
)
def test_what_the_model_cannot_read_is_refused_with_the_reason(tokenizer, message, options, reason):
    with pytest.raises(jinja2.TemplateError, match=reason):
        render(tokenizer, [message], **options)
