r"""Finds the answer that a completion or a solution states: in ``\boxed{}``, after ``####``, or in words."""

from __future__ import annotations

import re

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_MARKED = re.compile(r"####[ \t]*(\S[^\n#]*)")
_STATED = re.compile(
    r"answers?\**\s*(?:is|are|:)\**:?\s*(?:(?:therefore|thus|then|hence|simply|exactly)\s+)?(?=\S)", re.IGNORECASE
)
_SENTENCE_END = re.compile(r"\.\s|\n")
_REASON = re.compile(r",?\s+(?:because|since|as|which|where|so|when|if|that)\b", re.IGNORECASE)
_ENCLOSED = re.compile(r"(?P<mark>\$\$?|\*\*|\\[(\[]|`)(?P<content>[^$*`]*?)(?:\$\$?|\*\*|\\[)\]]|`)")
_CLOSING = re.compile(r"=\s*\$?\s*(-?(?:\d[\d,]*(?:\.\d+)?(?:/\d+)?|\\d?frac\{-?\d+\}\{\d+\}))\s*\$*\s*\.?\s*$")
_ASKS = re.compile(r"\b(?:find|compute|determine|evaluate|calculate|how many|what (?:is|are))\b", re.IGNORECASE)


def boxed_answer(text: str) -> str | None:
    r"""Return the content of the last ``\boxed{…}`` or ``\fbox{…}`` that is not empty; None when there is none.

    Braces are counted as the published scorer counts them (Hendrycks et al., ``last_boxed_only_string``), escaped ones
    included; a last box that does not close is a cut answer, which no earlier box replaces.
    """
    for box in reversed(list(_BOX.finditer(text))):
        content = _content(text[box.end() :])
        if content != "":
            return content
    return None


def _content(after: str) -> str | None:
    """Return what a box holds, given the text after its name; None when it does not close."""
    if not after.startswith("{"):
        return after.split("$")[0].split("\n")[0].strip()
    depth = 0
    for index, character in enumerate(after):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return after[1:index].strip()
    return None


def stated_answer(completion: str) -> str | None:
    """Return the answer that a completion gives: boxed, after ``####``, or after "the answer is"."""
    if _BOX.search(completion):
        return boxed_answer(completion)
    marked = _MARKED.search(completion)
    if marked:
        return _without_dollars(marked[1])
    for stated in reversed(list(_STATED.finditer(completion))):
        sentence = _SENTENCE_END.split(completion[stated.end() :], maxsplit=1)[0]
        answer = _without_dollars(_REASON.split(sentence, maxsplit=1)[0])
        if answer:
            return answer
    return None


def _without_dollars(text: str) -> str:
    r"""Return a stated answer without the marks around all of it: ``$…$``, ``\(…\)``, ``**…**`` and a last period."""
    text = text.strip().rstrip(".,;:").strip(" *")
    enclosed = _ENCLOSED.fullmatch(text)
    return _without_dollars(enclosed["content"]) if enclosed and enclosed["content"].strip() else text


def closing_answer(text: str) -> str | None:
    """Return the answer that a solution states, or else the value of the equation that it ends on."""
    closing = _CLOSING.search(text)
    return stated_answer(text) or (closing[1] if closing else None)


def reference_answer(problem: str, solution: str) -> str:
    """Return the answer of a problem that asks for a value; empty for proofs and where the solution has none."""
    return (_ASKS.search(problem) and closing_answer(solution)) or ""
