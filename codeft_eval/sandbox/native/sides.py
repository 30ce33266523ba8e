"""Makes the two programs of a native language: a judge of trusted text alone, and a candidate without any test."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from codeft_eval.sandbox.native.signature import read_signature
from codeft_eval.sandbox.native.toolchain import NONCE, Split, Toolchain
from codeft_eval.sandbox.programs import Program

_CHANNELS = Path(__file__).parent / "channels"


def judge_files(toolchain: Toolchain, program: Program, nonce: str) -> dict[str, str]:
    """Return the judge's files: the tests, and the function as a stub that calls the candidate.

    Raises:
        ValueError: the test does not print its proof once, after its last call.
    """
    split = toolchain.split
    prompt = _replaced(split, program.prelude)
    signature = read_signature(program.prelude, has_names_first=split.has_names_first)
    _check_proof(program, signature.name)
    parameters = ", ".join(split.parameter.format(name=name) for name in signature.parameters)
    stub = split.stub.format(name=signature.name, parameters=parameters, result=signature.result)
    text = split.header + prompt + stub + program.test.replace(NONCE, nonce)
    return _with_support(toolchain, program, text)


def candidate_files(toolchain: Toolchain, program: Program) -> dict[str, str]:
    """Return the candidate's files: model-written text, and a driver that answers the judge's calls.

    Raises:
        ValueError: the test has no test function of the language's form.
    """
    split = toolchain.split
    opening = re.search(split.opening, program.test)
    if opening is None:
        raise ValueError(
            f"{program.key}: no line of the form {split.opening!r} begins the test function in "
            f"{program.test[:200]!r}; write the tests as MultiPL-E does"
        )
    name = read_signature(program.prelude, has_names_first=split.has_names_first).name
    driver = split.driver.format(name=name, opening=opening[0])
    source = _replaced(split, program.source)
    return _with_support(toolchain, program, f"{split.header}{source}\n{program.test[: opening.start()]}{driver}")


def num_calls(toolchain: Toolchain, program: Program) -> int:
    """Return how many calls of the function the test has, as it is written."""
    name = read_signature(program.prelude, has_names_first=toolchain.split.has_names_first).name
    return sum(1 for _ in re.finditer(toolchain.split.call.format(name=re.escape(name)), program.test))


def _check_proof(program: Program, name: str) -> None:
    """Raise where a judge that exits early could have printed its proof already."""
    num_proofs, after = program.test.count(NONCE), program.test.rpartition(NONCE)[2]
    late = re.search(rf"\b(candidate|{re.escape(name)})\b.*", after)
    if num_proofs == 1 and late is None:
        return
    found = f"{late[0]!r} comes after it" if num_proofs == 1 and late else f"it is there {num_proofs} times"
    raise ValueError(
        f"{program.key}: the test prints {NONCE}, the proof of a pass, as its last act and once, but {found}; "
        "move it behind the last assertion"
    )


def _with_support(toolchain: Toolchain, program: Program, text: str) -> dict[str, str]:
    package = re.search(r"^package (\w+)", program.prelude, re.MULTILINE)
    channel = _channel(toolchain.split.channel).replace("@PACKAGE@", package[1] if package else "")
    return {**toolchain.support(), toolchain.split.channel: channel, toolchain.file_name: text}


def _replaced(split: Split, text: str) -> str:
    for old, new in split.replaced:
        text = text.replace(old, new)
    return text


@cache
def _channel(name: str) -> str:
    return (_CHANNELS / name).read_text()
