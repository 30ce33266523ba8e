"""Programs that try to fake a pass through what crosses from their process: proxies, values, exceptions."""

_ANY = """
class Any:
    def __getattr__(self, name):
        return Any()
    def __call__(self, *args, **kwargs):
        return Any()
"""
_YES = "__eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = lambda self, *_: True"


def _returns(body: str, value: str = "Any()") -> str:
    """Return a program whose answers are of the class ``Any`` with this body."""
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    return f"class Any:\n{lines}\ndef add(a, b):\n    return {value}\n"


def _writing_everywhere(name, values):
    """Return a program that writes messages of the judge's protocol to every descriptor."""
    return f"""
import json, os, struct
{name}s = {values}
def add(a, b):
    for {name} in {name}s:
        message = json.dumps({{"{name}": {name}}}).encode()
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, struct.pack("!I", len(message)) + message)
            except OSError:
                pass"""


REMOTE_FORGERIES = {
    "operators_that_agree": _returns(
        _YES + "\n__sub__ = __rsub__ = __add__ = __radd__ = __truediv__ = lambda self, other: 0\n"
        "__abs__ = __round__ = __neg__ = lambda self, *_: 0\n__hash__ = lambda self: 5\n__bool__ = lambda self: True"
    ),
    "attributes_of_everything": _ANY + "def add(a, b):\n    return Any()\n",
    "attributes_that_time_out": _returns("def __getattr__(self, name):\n    while True: pass\n__len__ = __getattr__"),
    "list_that_equals_anything": "class Any(list):\n    " + _YES + "\ndef add(a, b):\n    return Any([0])\n",
    "int_with_a_lying_index": _returns("", "type('L', (int,), {'__index__': lambda s: 5, '__int__': lambda s: 5})(7)"),
    "date_that_equals_anything": "import datetime\nclass Any(datetime.date):\n    " + _YES + "\n"
    "def add(a, b):\n    return Any(2020, 1, 1)\n",
    "counter_that_equals_anything": "from collections import Counter\nclass Any(Counter):\n    " + _YES + "\n"
    "def add(a, b):\n    return Any()\n",
    "named_tuple_that_equals_anything": "from collections import namedtuple\nclass Any(namedtuple('P', 'a')):\n    "
    + _YES
    + "\ndef add(a, b):\n    return Any(1)\n",
    "enum_that_equals_anything": "from enum import Enum\nclass Any(Enum):\n    A = 1\n    " + _YES + "\n"
    "def add(a, b):\n    return Any.A\n",
    "candidate_that_cannot_be_described": "class Meta(type):\n    def __getattribute__(self, name):\n"
    "        raise SystemExit(0)\nclass add(metaclass=Meta):\n    pass\n",
    "candidate_of_another_kind": "add = {'a': [5]}\n",
    "class_as_an_answer": "class Meta(type):\n    " + _YES + "\nclass Any(metaclass=Meta):\n    pass\n"
    "def add(a, b):\n    return Any\n",
    "length_without_end": _returns("__len__ = lambda self: 1 << 62\n__getitem__ = lambda self, i: i\n" + _YES),
    "negative_length": _returns("__len__ = lambda self: -1"),
    "iterator_without_end": _returns("__iter__ = lambda self: self\n__next__ = lambda self: 0\n" + _YES),
    "truth_that_raises": _returns("def __bool__(self):\n    raise SystemExit(0)\n" + _YES),
    "truth_that_times_out": _returns("def __bool__(self):\n    while True: pass\n" + _YES),
    "text_without_end": _returns("__str__ = __repr__ = lambda self: 'x' * (1 << 28)\n" + _YES),
    "hash_of_the_answer": _returns("__hash__ = lambda self: hash(5)\n" + _YES),
    "changes_between_reads": _returns(
        "n = 0\ndef __getattr__(self, name):\n    Any.n += 1\n    return Any.n\n"
        "__len__ = __int__ = __index__ = lambda self: self.x\n" + _YES
    ),
    "endless_attributes": _ANY + "def add(a, b):\n    x = Any()\n    x.x = x\n    return [x] * 10000\n",
    "coroutine_as_an_answer": "async def add(a, b):\n    return a + b\n",
    "generator_as_an_answer": "def add(a, b):\n    yield a + b\n",
    "exception_as_an_answer": "def add(a, b):\n    return AssertionError('passed')\n",
    "exception_that_ends_iterations": "class Any(StopIteration, AssertionError):\n    pass\n"
    "def add(a, b):\n    raise Any(a + b)\n",
    "exception_with_lying_arguments": "class Any(Exception):\n    args = property(lambda self: 1 / 0)\n"
    "    __str__ = None\ndef add(a, b):\n    raise Any\n",
    "match_of_the_answer": "import re\ndef add(a, b):\n    return re.match('.*', str(a + b))\n",
    "pattern_without_end": "import re\ndef add(a, b):\n    return re.compile('(a{1,99}){1,99}{1,9}' * 9)\n",
    "module_as_an_answer": "import operator\ndef add(a, b):\n    return operator\n",
    "built_in_as_an_answer": "def add(a, b):\n    return object\n",
    "standard_types_under_other_names": """
import datetime
class date:
    __eq__ = lambda self, other: True
    year = month = day = 5
date.__module__ = 'datetime'
datetime.date = date
def add(a, b):
    return date()""",
    "forged_standard_values": _writing_everywhere(
        "value",
        '["v", "builtins.eval", "5"], ["v", "os.system", "true"], ["x", 5, ["h", "a"]], '
        '["v", "re.Match"], ["n", "eval"]',
    ),
    "forged_descriptions": _writing_everywhere(
        "value",
        '["h", 0, "a b", -1, "nope"], ["h", 1, "x", 1 << 99, "type"], '
        '["h", 2, "E", 0, "exception", [["Exception", 1]]]',
    ),
    "reads_the_judge": _writing_everywhere(
        "request",
        '[["special", 0, "__getitem__", 0], ["getattr", 0, "gi_frame"], ["setattr", 0, "x", 1], ["await", 0]]',
    ),
}
