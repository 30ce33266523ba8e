"""Programs of other languages that try to fake a pass: each is wrong unless its attack has worked.

They all complete the prompt of their language's canaries, and are graded by tests of three assertions.
"""

from dataclasses import dataclass

from codeft_eval.sandbox.native.toolchains import TOOLCHAINS
from codeft_eval.sandbox.programs import Program
from tests.eval.native_hostile.compiled import CPP, GO, RUST
from tests.eval.native_hostile.java import JAVA
from tests.eval.native_hostile.scripts import JAVASCRIPT, SHELL, TYPESCRIPT

ATTACKS = {
    "javascript": JAVASCRIPT, "typescript": TYPESCRIPT, "cpp": CPP, "java": JAVA, "go": GO, "rust": RUST,
    "shell": SHELL,
}  # fmt: skip


@dataclass(frozen=True)
class Suite:
    """One language's attacks, each followed by an honest program."""

    language: str

    def programs(self) -> list[Program]:
        canaries = TOOLCHAINS[self.language].canaries
        sources = {}
        for name, attack in ATTACKS[self.language].items():
            sources[name] = canaries.prompt + attack
            sources[f"honest after {name}"] = canaries.prompt + canaries.right
        return [
            Program(
                key=key,
                source=source,
                entry_point="add",
                test=canaries.test,
                prelude=canaries.prompt,
                language=self.language,
            )
            for key, source in sources.items()
        ]
