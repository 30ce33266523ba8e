"""Programs of other languages that try to fake a pass: each is wrong unless its attack has worked.

They complete the prompt of their language's canaries, and are graded by the canaries' test.
"""

from codeft_eval.sandbox.native.toolchains import TOOLCHAINS
from codeft_eval.sandbox.programs import Program
from tests.eval.native_hostile.compiled import CPP, GO, RUST
from tests.eval.native_hostile.java import JAVA
from tests.eval.native_hostile.scripts import JAVASCRIPT, SHELL, TYPESCRIPT

ATTACKS = {
    "javascript": JAVASCRIPT, "typescript": TYPESCRIPT, "cpp": CPP, "java": JAVA, "go": GO, "rust": RUST,
    "shell": SHELL,
}  # fmt: skip
ATTACKS_PER_HONEST = 6


def suite(language: str) -> list[Program]:
    """Return one language's attacks, with an honest program after some: compilers take seconds."""
    canaries = TOOLCHAINS[language].canaries
    endings = {}
    for number, (name, attack) in enumerate(ATTACKS[language].items(), start=1):
        endings[name] = attack
        if number % ATTACKS_PER_HONEST == 0 or number == len(ATTACKS[language]):
            endings[f"honest after {name}"] = canaries.right
    return [
        Program(
            key=key,
            source=canaries.prompt + ending,
            entry_point="add",
            test=canaries.test,
            prelude=canaries.prompt,
            language=language,
        )
        for key, ending in endings.items()
    ]
