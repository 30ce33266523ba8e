"""TOOLCHAINS, the one place to add a language: how its programs are compiled and run, and proof that grading works.

Each program is two: a judge of the prompt and the tests, and a candidate of the prompt and the completion. The three
canaries of a language run before it is used.
"""

from __future__ import annotations

from dataclasses import replace

from codeft_eval.sandbox.isolation.namespaces import SCRATCH
from codeft_eval.sandbox.native.java_tuples import java_tuples
from codeft_eval.sandbox.native.toolchain import NONCE, Canaries, Split, Toolchain
from codeft_eval.sandbox.programs import Limits, Program

_SCRIPT_CANARIES = Canaries(
    prompt="function add(a, b) {\n",
    right="  return a + b;\n}\n",
    wrong="  return a - b;\n}\n",
    early_exit="  process.exit(0);\n}\n",
    test="const assert = require('node:assert');\nfunction test() {\n  let candidate = add;\n"
    "  assert.deepEqual(candidate(2, 3), 5);\n  assert.deepEqual(candidate(40, 2), 42);\n"
    f"  assert.deepEqual(candidate(1, -1), 0);\n}}\ntest();\nconsole.log('{NONCE}');\n",
)
_SCRIPT_SPLIT = Split(
    opening=r"function test\(\) \{",
    stub="  return require('./channel.js').call(Array.from(arguments));\n}}\n",
    driver="{opening}\n  require('./channel.js').serve((...passed) => {name}(...passed));\n}}\ntest();\n",
    channel="channel.js",
)


_JVM_START = ("-J-Xshare:auto", "-J-XX:TieredStopAtLevel=1")
_ENTRIES = (
    Toolchain(
        language="javascript",
        title="JavaScript",
        file_name="program.js",
        tools=("node",),
        steps=(("{node}", "program.js"),),
        split=_SCRIPT_SPLIT,
        canaries=_SCRIPT_CANARIES,
    ),
    Toolchain(
        language="typescript",
        title="TypeScript",
        file_name="program.ts",
        tools=("node", "tsc"),
        steps=(
            ("{node}", "{tsc}", "--target", "esnext", "--module", "commonjs", "--skipLibCheck", "program.ts"),
            ("{node}", "program.js"),
        ),
        built=("program.js", "channel.js"),
        split=replace(
            _SCRIPT_SPLIT,
            driver="{opening}\n  require('./channel.js').serve((...passed: any[]) => ({name} as any)(...passed));\n}}\n"
            "test();\n",
        ),
        canaries=replace(
            _SCRIPT_CANARIES,
            prompt="function add(a: number, b: number): number {\n",
            early_exit="  (globalThis as any).process.exit(0);\n  return 5;\n}\n",
            test="declare var require: any;\n" + _SCRIPT_CANARIES.test,
        ),
    ),
    Toolchain(
        language="cpp",
        title="C++",
        file_name="program.cpp",
        tools=("g++",),
        steps=(("{g++}", "-std=c++17", "-O1", "-o", "program", "program.cpp"), ("./program",)),
        judge_steps=(("{g++}", "-std=c++17", "-O0", "-s", "-o", "program", "program.cpp"), ("./program",)),
        built=("program",),
        split=Split(
            opening=r"int main\(\) \{",
            header='#include "channel.hpp"\n',
            stub="    return codeft::call<decltype({name}({parameters}))>({parameters});\n",
            driver="{opening}\n    return codeft::serve({name});\n}}\n",
            channel="channel.hpp",
            replaced=(("union Union_", "struct Union_"),),
        ),
        canaries=Canaries(
            prompt="#include <assert.h>\n#include <cstdio>\n#include <cstdlib>\nlong add(long a, long b) {\n",
            right="    return a + b;",
            wrong="    return a - b;",
            early_exit="    exit(0);",
            test="}\nint main() {\n    auto candidate = add;\n    assert(candidate(2, 3) == 5);\n"
            "    assert(candidate(40, 2) == 42);\n    assert(candidate(1, -1) == 0);\n"
            f'    puts("{NONCE}");\n}}\n',
        ),
    ),
    Toolchain(
        language="java",
        title="Java",
        file_name="Problem.java",
        tools=("java", "javac"),
        steps=(
            ("{javac}", *_JVM_START, "-J-Xmx512m", "-nowarn", "-proc:none", "Problem.java"),
            ("{java}", "-ea", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-Xss8m", "-cp", ".", "Problem"),
        ),
        built=("**/*.class",),
        support=java_tuples,
        split=Split(
            opening=r"    public static void main\(String\[\] args\) \{",
            stub="        return CodeftChannel.call({parameters});\n",
            driver='{opening}\n        CodeftChannel.serve(Problem.class, "{name}");\n    }}\n}}\n',
            channel="CodeftChannel.java",
        ),
        canaries=Canaries(
            prompt="class Problem {\n    public static long add(long a, long b) {\n",
            right="        return a + b;\n",
            wrong="        return a - b;\n",
            early_exit="        System.exit(0);\n        return 5;\n",
            test="    }\n    public static void main(String[] args) {\n    assert(add(2, 3) == 5);\n"
            "    assert(add(40, 2) == 42);\n    assert(add(1, -1) == 0);\n"
            f'    System.out.println("{NONCE}");\n    }}\n}}\n',
        ),
    ),
    Toolchain(
        language="go",
        title="Go",
        file_name="program_test.go",
        tools=("go",),
        version_arguments={"go": ("version",)},
        steps=(
            ("{go}", "test", "-vet=off", "-c", "-o", "program", "program_test.go", "channel_test.go"),
            ("./program", "-test.timeout=0"),
        ),
        built=("program",),
        environment={
            "GO111MODULE": "off",
            "GOCACHE": f"{SCRATCH}/.cache",
            "GOPATH": f"{SCRATCH}/.gopath",  # not /tmp/go, which may be the toolchain itself
            "GOFLAGS": "-p=1",
        },
        split=Split(
            opening=r"func Test\w*\(t \*testing\.T\) \{",
            stub="\treturn codeftCall[{result}]({parameters})\n}}\n",
            driver="var _ = fmt.Sprint\n\n{opening}\n\tcodeftServe({name})\n}}\n",
            channel="channel_test.go",
            parameter="&{name}",
            has_names_first=True,
        ),
        canaries=Canaries(
            prompt='package add_test\n\nimport (\n    "testing"\n    "fmt"\n    "os"\n)\n\nvar _ = os.Exit\n\n'
            "func add(a int, b int) int {\n",
            right="\treturn a + b\n}\n",
            wrong="\treturn a - b\n}\n",
            early_exit="\tos.Exit(0)\n\treturn 5\n}\n",
            test="func TestAdd(t *testing.T) {\n  if add(2, 3) != 5 || add(40, 2) != 42 || add(1, -1) != 0 {\n"
            '    t.Errorf("wrong")\n  }\n'
            f'  if !t.Failed() {{\n    fmt.Println("{NONCE}")\n  }}\n}}\n',
        ),
    ),
    Toolchain(
        language="rust",
        title="Rust",
        file_name="program.rs",
        tools=("rustc", "cc"),
        steps=(("{rustc}", "--edition=2021", "-A", "warnings", "-o", "program", "program.rs"), ("./program",)),
        judge_steps=(
            ("{rustc}", "--edition=2021", "-A", "warnings", "-C", "strip=symbols", "-o", "program", "program.rs"),
            ("./program",),
        ),
        built=("program",),
        split=Split(
            opening=r"fn main\(\) \{",
            header="mod channel;\n",
            stub="    channel::call_candidate!({parameters})\n",
            driver="{opening}\n    channel::serve({name});\n}}\n",
            channel="channel.rs",
        ),
        canaries=Canaries(
            prompt="fn add(a: isize, b: isize) -> isize {\n",
            right="    a + b\n",
            wrong="    a - b\n",
            early_exit="    std::process::exit(0)\n",
            test=f"}}\n\nfn main() {{\n    assert_eq!(add(2, 3), 5);\n    assert_eq!(add(40, 2), 42);\n"
            f'    assert_eq!(add(1, -1), 0);\n    println!("{NONCE}");\n}}\n',
        ),
    ),
    Toolchain(
        language="shell",
        title="Shell",
        file_name="program.sh",
        tools=("bash",),
        programs=("bc", "awk", "sed", "grep", "sort"),
        version_arguments={"awk": ("-W", "version")},
        steps=(("{bash}", "program.sh"),),
        split=Split(
            opening=r"candidate\(\) \{",
            call=r"\$\(candidate\b",
            header=f". {SCRATCH}/channel.sh\n",
            stub='    codeft_call "$@"\n',
            driver='{opening}\n    {name} "$@"\n}}\ncodeft_serve candidate\n',
            channel="channel.sh",
        ),
        canaries=Canaries(
            prompt="add() {\n",
            right="    echo $(($1 + $2))\n",
            wrong="    echo $(($1 - $2))\n",
            early_exit="    :\n}\nexit 0\n{\n",
            test='}\ncandidate() {\n    add "$@"\n}\nset -e\n[[ $(candidate 2 3) = 5 ]]\n'
            "[[ $(candidate 40 2) = 42 ]]\n[[ $(candidate 1 -1) = 0 ]]\n"
            f"printf '%s\\n' '{NONCE}'\n",
        ),
    ),
)
TOOLCHAINS: dict[str, Toolchain] = {entry.language: entry for entry in _ENTRIES}
COMPILING = Limits(cpu_seconds=60, wall_seconds=120.0, memory_bytes=2 << 30)
"""Limits of a compiler; those that a user sets are for the program it makes."""


def canary_programs(language: str) -> dict[str, Program]:
    """Return the three canaries, by name."""
    canaries = TOOLCHAINS[language].canaries
    endings = {"right": canaries.right, "wrong": canaries.wrong, "early_exit": canaries.early_exit}
    return {
        name: Program(
            key=name,
            source=canaries.prompt + ending,
            entry_point="add",
            test=canaries.test,
            prelude=canaries.prompt,
            language=language,
        )
        for name, ending in endings.items()
    }
