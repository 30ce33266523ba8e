"""MultiPL-E's items become programs whose tests print a nonce, and the tests' own answers pass them."""

import pytest

from codeft_eval.benchmarks.benchmark import Item
from codeft_eval.benchmarks.catalogue import BENCHMARKS
from codeft_eval.benchmarks.multipl_e import MULTIPL_E, item_reader
from codeft_eval.benchmarks.multipl_e_solutions import split_arguments, table_solution
from codeft_eval.sandbox.native.toolchains import TOOLCHAINS
from codeft_eval.scoring.graders import open_grader
from tests.eval.toolchains import HEAVY, needs

ROW = {"name": "HumanEval_7_add", "stop_tokens": []}
ROWS = {
    "javascript": (
        "function add(a, b){\n",
        "const assert = require('node:assert');\nfunction test() {\n  let candidate = add;\n"
        '  assert.deepEqual(candidate(2, [3, 4]),"5, )");\n}\ntest();',
    ),
    "shell": (
        "#!/bin/bash\nadd() {\n",
        '}\ncandidate() {\n    add "$@"\n}\nset -e\nrun_test() {\n    [[ $(candidate "2" "3 4") = "5" ]]\n}\nrun_test',
    ),
    "cpp": (
        "#include<assert.h>\n#include<bits/stdc++.h>\nlong add(long a, std::map<long, long> b) {\n",
        "}\nint main() {\n    auto candidate = add;\n"
        "    assert(candidate((2), (std::map<long,long>({{1, 2}}))) == (5));\n}\n",
    ),
    "java": (
        "import java.util.*;\nimport org.javatuples.*;\nclass Problem {\n"
        "    public static Pair<Long, Long> add(ArrayList<Long> a, long b) {\n",
        "    }\n    public static void main(String[] args) {\n"
        "    assert(add((new ArrayList<Long>(Arrays.asList((long)1l)))"
        ", (2l)).equals((Pair.with(8l, 13l))));\n    }\n\n}\n",
    ),
    "go": (
        'package add_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\nfunc add(a []int, b int) int {\n',
        "func TestAdd(t *testing.T) {\n  candidate := add\n\ttype test struct {\n\t\tactual   interface{}\n"
        "\t\texpected interface{}\n\t}\n   tests := []test{\n"
        "     { actual: candidate([]int{4, 88}, 1), expected: 88 },\n"
        '   }\n\tfor i, tc := range tests {\n\t\tt.Run(fmt.Sprintf("%d", i), func(t *testing.T) {\n'
        '\t\t\tif fmt.Sprintf("%v", tc.actual) != fmt.Sprintf("%v", tc.expected) {\n\t\t\t\tt.Errorf("no")\n\t\t\t}\n'
        "\t\t})\n\t}\n}\n",
    ),
    "rust": (
        "fn add(a: Vec<isize>, b: String) -> isize {\n",
        "}\n\nfn main() {\n    let candidate = add;\n"
        '    assert_eq!(candidate(vec![4, 88], String::from("x, y")), 88);\n}\n',
    ),
}


@pytest.mark.parametrize("language", [pytest.param(x, marks=pytest.mark.slow if x in HEAVY else ()) for x in ROWS])
def test_the_tables_own_answers_pass_and_an_empty_completion_fails(language):
    needs(language)
    prompt, tests = ROWS[language]
    item = next(iter(item_reader(language)([ROW | {"prompt": prompt, "tests": tests}], ())))
    assert item.task_id == "HumanEval/7"
    benchmark = next(entry for entry in MULTIPL_E if entry.languages == (language,))
    with open_grader(benchmark) as grader:
        outcomes = grader.grade([item, item], [table_solution(item), ""])
    assert [outcome.verdict for outcome in outcomes] == ["passed", "failed"], outcomes


def test_a_parameter_that_is_named_as_another_languages_type_keeps_its_name():
    prompt = "class Problem {\n    public static long strlen(String string) {\n"
    tests = '    }\n    public static void main(String[] args) {\n    assert(strlen(("x")) == (1l));\n    }\n\n}\n'
    item = next(iter(item_reader("java")([ROW | {"prompt": prompt, "tests": tests}], ())))
    assert 'Objects.equals(string, ("x"))' in table_solution(item)


def test_arguments_are_split_at_their_own_level_only():
    assert split_arguments('(1), [2, 3], "a, )b", {4: (5, 6)}') == ["(1)", "[2, 3]", '"a, )b"', "{4: (5, 6)}"]
    assert split_arguments("") == []


def test_tests_of_another_form_are_refused():
    item = Item(task_id="t", prompt="f() {\n", solution="", test="[ 1 = 1 ]", language="shell")
    with pytest.raises(ValueError, match="t in shell: no test of the form"):
        table_solution(item)


def test_every_translation_has_a_toolchain_and_a_published_figure_to_stand_beside():
    assert {entry.languages[0] for entry in MULTIPL_E} == set(TOOLCHAINS)
    assert {entry.name for entry in MULTIPL_E} <= set(BENCHMARKS)
