"""Programs that try to fake a verdict: see hostile.py."""

FORGERIES = {
    "sys_exit_at_load": "import sys\nsys.exit(0)",
    "os_exit_at_load": "import os\nos._exit(0)",
    "sys_exit_in_call": "import sys\ndef add(a, b):\n    sys.exit(0)",
    "os_exit_in_call": "import os\ndef add(a, b):\n    os._exit(0)",
    "system_exit_raised": "def add(a, b):\n    raise SystemExit(0)",
    "keyboard_interrupt": "def add(a, b):\n    raise KeyboardInterrupt",
    "generator_exit": "def add(a, b):\n    raise GeneratorExit",
    "stop_iteration": "def add(a, b):\n    raise StopIteration(a + b)",
    "exit_in_atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b):\n    return None",
    "equal_to_everything": """
class Any:
    __eq__ = lambda self, other: True
    __ne__ = lambda self, other: False
    __bool__ = lambda self: True
    __hash__ = lambda self: 0
def add(a, b):
    return Any()""",
    "equal_to_everything_and_false": """
class Any:
    __eq__ = lambda self, other: True
    __bool__ = lambda self: False
    __hash__ = lambda self: 0
def add(a, b):
    return Any()""",
    "verdict_in_a_frame": """
import sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if isinstance(value, list) or type(value).__name__ == "ListProxy":
                value.insert(0, "passed")
        frame = frame.f_back""",
    "equal_int_subclass": """
class Any(int):
    __eq__ = lambda self, other: True
    __bool__ = lambda self: False
    __hash__ = int.__hash__
def add(a, b):
    return Any(7)""",
    "equal_list_subclass": """
class Any(list):
    __eq__ = lambda self, other: True
    __iter__ = lambda self: iter([5])
def add(a, b):
    return Any([1])""",
    "equal_by_metaclass": """
class Meta(type):
    __eq__ = lambda self, other: True
    __hash__ = type.__hash__
class Any(metaclass=Meta):
    pass
def add(a, b):
    return Any""",
    "patched_builtins": """
import builtins
class Quiet(BaseException):
    pass
builtins.AssertionError = Quiet
builtins.all = builtins.any = lambda *_: True
builtins.exec = builtins.compile = builtins.isinstance = lambda *_, **__: True
def add(a, b):
    return 0""",
    "patched_trace": """
import sys
def skip(frame, event, argument):
    frame.f_trace_lines = False
    return skip
sys.settrace(skip)
def add(a, b):
    return 0""",
    "frames_hold_the_test": """
import sys
def add(a, b):
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if isinstance(value, (str, bytes)) and "candidate(2, 3)" in str(value):
                return a + b
        frame = frame.f_back""",
    "memory_holds_the_test": """
import gc
def add(a, b):
    for value in gc.get_objects():
        if isinstance(value, dict):
            for item in list(value.values()):
                if type(item) is str and "assert candidate(" + "2, 3)" in item:
                    return a + b""",
    "expected_values_in_memory": """
import ctypes
def add(a, b):
    with open("/proc/self/mem", "rb") as memory:
        return a + b""",
    "printed_verdict": """
import sys
for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
    print('passed', 'OK', '{"verdict": "passed", "reason": "passed", "detail": ""}', file=stream, flush=True)
def add(a, b):
    return 0""",
    "verdict_on_every_descriptor": """
import os
for descriptor in range(3, 1024):
    try:
        os.write(descriptor, b'{"verdict": "passed", "reason": "passed", "detail": ""}\\n')
    except OSError:
        pass
def add(a, b):
    return 0""",
    "forged_answers_sent_ahead": """
import json, os, struct
message = json.dumps({"value": True}).encode()
for descriptor in range(3, 64):
    try:
        os.write(descriptor, (struct.pack("!I", len(message)) + message) * 50)
    except OSError:
        pass
def add(a, b):
    return 0""",
    "forged_changes_of_arguments": """
import json, os, struct
message = json.dumps({"value": 5, "changed": [[0, 5], [7, ["l", []]], ["x", 1]]}).encode()
for descriptor in range(3, 64):
    try:
        os.write(descriptor, (struct.pack("!I", len(message)) + message) * 9)
    except OSError:
        pass
def add(a, b):
    return 0""",
    "patched_codec": """
import sys
for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").startswith("codeft_eval"):
        for name in ("encode", "dumps", "serve_call", "describe_exception"):
            if hasattr(module, name):
                setattr(module, name, lambda *_, **__: ["o", 0])
def add(a, b):
    return 0""",
    "requests_to_the_judge": """
import json, os, struct
requests = ["lookup", "check"], ["load", "import os"], ["getattr", 0, "__globals__"], ["call", 0, [], ["d"]]
for request in requests:
    message = json.dumps({"request": request}).encode()
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, struct.pack("!I", len(message)) + message)
        except OSError:
            pass
def add(a, b):
    return 0""",
    "named_builtin_that_is_none": "def add(a, b):\n    return exec",
    "closes_every_descriptor": "import os\nos.closerange(0, 1024)\ndef add(a, b):\n    return a + b",
}
