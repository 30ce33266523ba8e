"""Adapters for upstreams that are text without a schema: an olympiad collection and pages fetched as Markdown."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from codeft_assets.curation.ingest.drafts import BadRowError, Draft, Reject, Row, column, conversation
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


_READER_FIELD = re.compile(r"^(Title|URL Source|Published Time|Warning):[ \t]*(.*)$")
_FAILURE = re.compile(r"\b[45]\d\d\b|returned error|captcha|forbidden|denied|blocked", re.I)
"""In a warning. Others are advice: that the page is a cached snapshot, or has frames that were not read."""
_ERROR_TITLE = re.compile(
    r"(?:\W*(?:http|error|status)\W*)*[45]\d\d\b(?=\W*(?:$|error|not\b|page|access|forbidden|"
    r"unauth|bad|internal|service|too many|gateway|gone))|.{0,30}\b(?:not found|does not exist|access denied|forbidden|"
    r"bad gateway|service (?:temporarily )?unavailable|too many requests|internal server error)\b|"
    r"just a moment|attention required|are you a robot|verify(?:ing)? you are human",
    re.I,
)
_MAX_ERROR_PAGE_CHARS = 2000
"""A longer page with such a title is about the error."""
_CODE_OR_IMAGE = re.compile(r"(`+)(?:(?!\1).)+?\1(?!`)|!\[[^\]]*\]\([^)]*\)")
_LINK_LINE = re.compile(r"^\s*(?:[*+-]\s*)?(?:\[[^\]]*\]\([^)]*\)[\s|·•>/]*)+$")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})")
_MIN_PAGE_CHARS = 200


def reader_page(row: Row) -> list[Draft]:
    """Jina Reader: a preamble of fields, then Markdown; image stubs and lines of links only are removed.

    A code block keeps all its lines.
    """
    body = column(row, "body")
    preamble, mark, markdown = body.partition("Markdown Content:")
    if not body.startswith("Title:") or not mark:
        raise BadRowError("not_a_page", f"the reader answered {body[:120]!r}")
    found = [match for line in preamble.splitlines() if (match := _READER_FIELD.match(line))]
    if failed := [match[2] for match in found if match[1] == "Warning" and _FAILURE.search(match[2])]:
        raise BadRowError("not_a_page", f"the reader warns: {failed[0][:120]!r}")
    content = normalize_text("\n".join(_kept_lines(markdown)))
    title = next((match[2].strip() for match in found if match[1] == "Title"), "")
    if len(content) <= _MAX_ERROR_PAGE_CHARS and _ERROR_TITLE.match(title or content.lstrip("# ")):
        raise BadRowError("error_page", f"a page of {len(content)} characters with the title {title[:120]!r}")
    if len(content) < _MIN_PAGE_CHARS:
        raise BadRowError("empty_text", f"{len(content)} characters are left of the page")
    return [Draft(text=content if content.startswith("# ") or not title else f"# {title}\n\n{content}")]


def _kept_lines(markdown: str) -> Iterator[str]:
    fence, was_blank = "", False
    for line in markdown.split("\n"):
        mark = _FENCE.match(line)
        if fence or mark:
            yield line
            closes = mark is not None and mark[1].startswith(fence) and line.strip() == mark[1]
            fence = ("" if closes else fence) if fence else (mark[1] if mark else "")
            was_blank = False
            continue
        kept = _CODE_OR_IMAGE.sub(lambda match: match[0] if match[1] else "", line)
        if _LINK_LINE.match(kept) or (was_blank and not kept.strip()):
            continue
        was_blank = not kept.strip()
        yield kept
