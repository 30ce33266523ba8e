"""The first lines of the scoreboard: the model's abilities, its ratio to Qwen 2.5, and the next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from codeft_eval.scoreboard.formatting import show_ratio, show_tokens
from codeft_eval.scoreboard.reference import REFERENCE_MODELS
from codeft_eval.scoreboard.rows import Row, Scoreboard
from codeft_eval.scoring.scores import BITS_PER_BYTE, PASS_AT_1, REPLAY_PREFIX
from codeft_eval.statistics.intervals import Estimate

_FAMILY = "Qwen2.5"
FEW_ITEMS = 100
"""Below it only differences of about 15 points and more can be seen: two rates near one half, power 80 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """Three short texts."""

    ability: str
    relative: str
    """The ratio to the reference, or the reason why there is none."""
    next_step: str


def headline(board: Scoreboard) -> Headline:
    """Return the first lines of a scoreboard."""
    scored = _scored(board)
    return Headline(ability=_ability(scored), relative=_relative(board), next_step=_next_step(board, scored))


def show_checkpoint(board: Scoreboard) -> str:
    """Return whose scores they are: of a replay its name, else the checkpoint's, a local path by its last part."""
    if board.model_hash.startswith(REPLAY_PREFIX):
        return f"Stored completions: {board.model}"
    is_path = board.model.startswith(("/", ".", "~"))
    name = board.model.rstrip("/").rsplit("/", 1)[-1] if is_path else board.model
    named = "" if name == "checkpoint" else f"{name}, "
    return f"{named}checkpoint {board.model_hash[:16]}"


def _scored(board: Scoreboard) -> list[tuple[str, Estimate]]:
    """Return the pass rate of each benchmark and protocol that has one, by title."""
    return list({row.title: row.ours for row in board.rows if row.metric == PASS_AT_1 and row.ours}.items())


def _ability(scored: Sequence[tuple[str, Estimate]]) -> str:
    if not scored:
        return "No benchmark has a verdict yet"
    solved = [f"{100 * rate.value:.1f} % of {title} ({_interval(rate)})" for title, rate in scored if rate.value]
    none = [f"{title} ({rate.n} items)" for title, rate in scored if not rate.value]
    if not solved:
        return f"Solves nothing yet of {_listed(none)}"
    return f"Solves {_listed(solved)}" + (f"; nothing yet of {_listed(none)}" if none else "")


def _relative(board: Scoreboard) -> str:
    if board.overall.ratio:
        return f"Its pass rates are {show_ratio(board.overall.ratio)} of {board.headline}'s: {board.overall.note}"
    row = _best_ratio(board)
    if row:
        return f"Its pass rate is {show_ratio(row.ratio)} of {row.reference_model}'s on {row.title}, {row.provenance}"
    return "No ratio to Qwen 2.5 yet: it has not been measured on these items"


def _best_ratio(board: Scoreboard) -> Row | None:
    """Return a row with a ratio to a Qwen 2.5: a measured one before a published one, the headline model first."""
    rows = [row for row in board.rows if row.metric == PASS_AT_1 and row.ratio]
    qwens = [row for row in rows if _is_of_family(row)]
    order = {name: number for number, name in enumerate(REFERENCE_MODELS)}
    return min(
        qwens,
        key=lambda row: (row.provenance != "measured", order.get(row.reference_model, len(order))),
        default=None,
    )


def _is_of_family(row: Row) -> bool:
    """Return whether a row is beside a Qwen 2.5: a strategy's is beside its control, which no data would raise."""
    return row.reference_model.startswith(_FAMILY)


def _next_step(board: Scoreboard, scored: Sequence[tuple[str, Estimate]]) -> str:
    """Return the first step that applies: sound verdicts, programs that pass, a reference, more items."""
    if board.warnings:
        return f"Make every verdict sound first: {board.warnings[0]}"
    if not scored:
        return "Score a benchmark: python -m codeft_eval run --help"
    if not any(rate.value for _, rate in scored):
        return _train_more(board)
    return _look_at_lost(board) or _compare(board, scored)


def _look_at_lost(board: Scoreboard) -> str:
    lost = [change for change in board.changes if len(change.lost) > len(change.gained)]
    return f"Read the {len(lost[0].lost)} samples of {lost[0].title} that the checkpoint before passed" if lost else ""


def _compare(board: Scoreboard, scored: Sequence[tuple[str, Estimate]]) -> str:
    if not _best_ratio(board):
        return "Measure Qwen 2.5 on the same items: python -m codeft_eval measure --help"
    if max(rate.n for _, rate in scored) < FEW_ITEMS:
        return (
            "Score a benchmark of more items, such as humaneval: differences that these show must be large "
            "(column detectable)"
        )
    return _weakest(board)


def _train_more(board: Scoreboard) -> str:
    bits = [row.ours.value for row in board.rows if row.metric == BITS_PER_BYTE and row.ours]
    falling = f" Bits per byte, {min(bits):.3f} now, fall before the first program passes." if bits else ""
    seen = f"; {show_tokens(board.num_tokens)} so far" if board.num_tokens else ""
    return f"Train on more tokens, exercises above all{seen}.{falling}"


def _weakest(board: Scoreboard) -> str:
    rows = [row for row in board.rows if row.metric == PASS_AT_1 and row.ratio and _is_of_family(row)]
    row = min(rows, key=lambda row: row.ratio.value if row.ratio else 0.0)
    return f"Add data for the weakest: {row.title}, {show_ratio(row.ratio)} of {row.reference_model}"


def _interval(rate: Estimate) -> str:
    return f"{100 * rate.low:.1f}–{100 * rate.high:.1f}, n = {rate.n}"


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts)
