"""No program of another language passes by a trick, and the next honest program is unaffected."""

import math
import shutil
import subprocess
from dataclasses import replace

import pytest

from codeft_eval.sandbox.native.sides import judge_files
from codeft_eval.sandbox.native.toolchain import NONCE
from codeft_eval.sandbox.native.toolchains import TOOLCHAINS, canary_programs
from codeft_eval.sandbox.pool import Sandbox
from codeft_eval.sandbox.programs import Limits
from codeft_eval.sandbox.provider import SandboxError
from tests.eval.native_hostile import ATTACKS, ATTACKS_PER_HONEST, suite
from tests.eval.toolchains import HEAVY, needs

LIMITS = Limits(cpu_seconds=1, wall_seconds=15)


@pytest.fixture(
    scope="module", params=[pytest.param(x, marks=pytest.mark.slow if x in HEAVY else ()) for x in TOOLCHAINS]
)
def language(request):
    """Run all tests of a language one after the other: they share a sandbox, and the judge that it has built."""
    needs(request.param)
    return request.param


@pytest.fixture(scope="module")
def sandbox(language):
    with Sandbox(language=language, limits=LIMITS, num_workers=2) as sandbox:
        yield sandbox


def test_every_language_has_a_suite_of_at_least_twelve():
    assert ATTACKS.keys() == TOOLCHAINS.keys()
    assert {language for language, attacks in ATTACKS.items() if len(attacks) < 12} == set()


@pytest.mark.slow
def test_no_attack_passes_and_every_honest_program_between_them_does(sandbox, language):
    grades = sandbox.run(suite(language))
    attacks = {grade.key: (grade.verdict, grade.reason) for grade in grades if grade.key in ATTACKS[language]}
    assert {name: found for name, found in attacks.items() if found[0] != "failed"} == {}
    assert [grade for grade in grades if grade.key not in attacks and grade.verdict != "passed"] == []
    assert len(attacks) == len(ATTACKS[language])
    assert len(grades) - len(attacks) == math.ceil(len(attacks) / ATTACKS_PER_HONEST)


@pytest.mark.parametrize("language", TOOLCHAINS)
@pytest.mark.parametrize("allow_unsafe", [False, True])
def test_the_landlock_level_runs_no_program_of_these_languages(language, allow_unsafe):
    with pytest.raises(SandboxError, match=f"no isolation for {language} .*private scratch.*landlock was requested"):
        Sandbox(language=language, level="landlock", allow_unsafe=allow_unsafe)


_CALLS = ((2, 3), (40, 2), (1, -1))
"""The arguments of each assertion of the canaries, in their order."""
_WRONG_ONCE = {
    "shell": "    [[ $1 = {first} ]] && echo 7 || echo $(($1 + $2))\n",
    "go": "\tif a == {first} {{ return 7 }}\n\treturn a + b\n}}\n",
    "rust": "    if a == {first} {{ 7 }} else {{ a + b }}\n",
}
_WRONG_ONCE |= dict.fromkeys(("javascript", "typescript"), "  return a == {first} ? 7 : a + b;\n}}\n")
_WRONG_ONCE |= dict.fromkeys(("cpp", "java"), "    return a == {first} ? 7 : a + b;\n")


def test_each_assertion_runs_before_the_proof(sandbox, language):
    canaries, right = TOOLCHAINS[language].canaries, canary_programs(language)["right"]
    endings = [_WRONG_ONCE[language].format(first=first) for first, _ in _CALLS]
    programs = [replace(right, source=canaries.prompt + ending) for ending in endings]
    assert [grade.verdict for grade in sandbox.run([right, *programs])] == ["passed", *["failed"] * len(_CALLS)]


@pytest.mark.parametrize("language", TOOLCHAINS)
def test_a_test_prints_its_proof_once_and_last(language):
    right = canary_programs(language)["right"]
    others = {
        "0 times": right.test.replace(NONCE, "done"),
        "2 times": right.test.replace(NONCE, NONCE + NONCE),
        "comes after it": right.test.replace(NONCE, f"{NONCE} candidate 1 2"),
    }
    for message, test in others.items():
        with pytest.raises(ValueError, match=f"the proof of a pass.*{message}"):
            judge_files(TOOLCHAINS[language], replace(right, test=test), "0" * 32)


@pytest.mark.parametrize("language", [x for x in TOOLCHAINS if x not in HEAVY])
def test_a_script_finds_no_secret_to_print(language):
    needs(language)
    quick = [program for program in suite(language) if program.key.startswith("prints")]
    with Sandbox(language=language, limits=LIMITS, num_workers=2) as sandbox:
        assert {grade.verdict for grade in sandbox.run(quick)} == {"failed"}


@pytest.mark.parametrize(
    ("language", "tool", "attack"),
    [
        ("shell", "bash", "prints what its own file holds"),
        ("javascript", "node", "prints what its own file holds"),
        ("javascript", "node", "replaces the assertion"),
    ],
)
def test_the_same_attacks_pass_where_program_and_test_are_one_process(language, tool, attack, tmp_path):
    if not shutil.which(tool):
        pytest.skip(f"not installed: {tool}")
    program = next(program for program in suite(language) if program.key == attack)
    nonce = "0123456789abcdef" * 2
    file = tmp_path / TOOLCHAINS[language].file_name
    file.write_text(program.source + "\n" + program.test.replace(NONCE, nonce))
    done = subprocess.run([tool, str(file)], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, nonce in done.stdout) == (0, True)


_PASSED_BY = {
    "shell": ("[[ $(candidate 1 -1) = 0 ]]", "if false; then [[ $(candidate 1 -1) = 0 ]]; fi"),
    "go": ("|| add(1, -1) != 0", "|| (false && add(1, -1) != 0)"),
    "rust": ("assert_eq!(add(1, -1), 0);", "if false { assert_eq!(add(1, -1), 0); }"),
    "cpp": ("assert(candidate(1, -1) == 0)", "if (false) assert(candidate(1, -1) == 0)"),
    "java": ("assert(add(1, -1) == 0)", "if (false) assert(add(1, -1) == 0)"),
}
_PASSED_BY |= dict.fromkeys(
    ("javascript", "typescript"), ("assert.deepEqual(candidate(1", "if (false) assert.deepEqual(candidate(1")
)


def test_a_proof_after_a_call_that_was_left_out_is_no_pass(sandbox, language):
    right = canary_programs(language)["right"]
    left_out = replace(right, test=right.test.replace(*_PASSED_BY[language]))
    assert left_out.test != right.test
    honest, found = sandbox.run([right, left_out])
    assert honest.verdict == "passed"
    assert (found.reason, found.detail) == ("test_failed", "the tests ended with status 0, 2 of 3 calls answered")
