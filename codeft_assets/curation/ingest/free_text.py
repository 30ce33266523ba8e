"""Adapters for upstreams that are text without a schema: an olympiad collection and pages fetched as Markdown."""

from __future__ import annotations

import itertools
import re

from codeft_assets.curation.ingest.adapters import BadRowError, Draft, Reject, Row, column, conversation
from codeft_assets.curation.ingest.normalize import normalize_text

_PROBLEM_START = re.compile(r"^(?:(?:Problem|Question|Exercise)\s+\d+\s*[.:)]|\d{1,4}\s*[.)])\s+", re.MULTILINE | re.I)
_ANSWER_START = re.compile(r"^(?:Answer|Solution|Proof)\s*[.:]\s*", re.MULTILINE | re.I)
_MIN_PROBLEM_CHARS, _MAX_PROBLEM_CHARS = 40, 6000


def olympiad_text(row: Row) -> list[Draft | Reject]:
    """comp-math: one text file of problems, split at numbers and blank lines; pieces of a wrong size are rejected."""
    pieces = [_olympiad_piece(str(i), piece) for i, piece in enumerate(_olympiad_blocks(column(row, "text")))]
    return [piece for piece in pieces if piece is not None]


def _olympiad_blocks(text: str) -> list[str]:
    blocks: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        starts = [match.start() for match in _PROBLEM_START.finditer(paragraph)]
        bounds = sorted({0, *starts, len(paragraph)})
        for begin, end in itertools.pairwise(bounds):
            block = paragraph[begin:end].strip()
            if blocks and _ANSWER_START.match(block):
                blocks[-1] = f"{blocks[-1]}\n\n{block}"
            else:
                blocks.append(block)
    return blocks


def _olympiad_piece(part: str, block: str) -> Draft | Reject | None:
    if not block:
        return None
    if not _MIN_PROBLEM_CHARS <= len(block) <= _MAX_PROBLEM_CHARS:
        detail = f"{len(block)} characters; a problem has {_MIN_PROBLEM_CHARS} to {_MAX_PROBLEM_CHARS}"
        return Reject(part=part, reason="did_not_split", detail=detail, text=block)
    problem = _PROBLEM_START.sub("", block, count=1)
    question, *solutions = _ANSWER_START.split(problem)
    if not solutions:
        return Draft(text=problem, part=part, language="text")
    draft = conversation([("user", question), ("assistant", "\n\n".join(part for part in solutions if part.strip()))])
    return Draft(text=draft[0].text, messages=draft[0].messages, part=part, language="text")


_READER_FIELD = re.compile(r"^(Title|URL Source|Published Time):[ \t]*(.*)$")
_IMAGE = re.compile(r"!\[[^\]]*\]\([^)]*\)")
_LINK_LINE = re.compile(r"^\s*(?:[*+-]\s*)?(?:\[[^\]]*\]\([^)]*\)[\s|·•>/]*)+$")
_MIN_PAGE_CHARS = 200


def reader_page(row: Row) -> list[Draft]:
    """Jina Reader: a preamble of fields, then Markdown; image stubs and lines of links only are removed."""
    body = column(row, "body")
    if not body.startswith("Title:") or "Warning:" in body[:600]:
        raise BadRowError("not_a_page", f"the reader answered {body[:120]!r}")
    preamble, mark, markdown = body.partition("Markdown Content:")
    if not mark:
        raise BadRowError("not_a_page", "the reader's answer has no 'Markdown Content:'")
    fields = {match[1]: match[2] for line in preamble.splitlines() if (match := _READER_FIELD.match(line))}
    lines = [_IMAGE.sub("", line) for line in markdown.splitlines()]
    content = normalize_text("\n".join(line for line in lines if not _LINK_LINE.match(line)))
    content = re.sub(r"\n{3,}", "\n\n", content)
    if len(content) < _MIN_PAGE_CHARS:
        raise BadRowError("empty_text", f"{len(content)} characters are left of the page")
    title = fields.get("Title", "").strip()
    return [Draft(text=content if content.startswith("# ") or not title else f"# {title}\n\n{content}")]
