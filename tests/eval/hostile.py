"""Programs that try to fake a verdict or to escape their isolation.

Each defines ``add(a, b)`` and returns the right sum only when its attack has worked, so that a pass means a breach.
``@NAME@`` is replaced by an object of the host that the test put there.
"""

from tests.eval.forgeries import FORGERIES
from tests.eval.remote_forgeries import REMOTE_FORGERIES

TEST = """
def check(candidate):
    assert candidate(2, 3) == 5
    assert candidate(40, 2) == 42
    assert not candidate(1, -1)
"""
HONEST = "def add(a, b):\n    return a + b\n"

_ATTEMPT = """
def add(a, b):
    try:
        attack()
    except BaseException as error:
        return repr(error)
    return a + b
"""


def _attempt(attack: str, preamble: str = "") -> str:
    body = "\n".join("    " + line for line in attack.strip().splitlines())
    return f"{preamble}\ndef attack():\n{body}\n{_ATTEMPT}"


EXHAUSTION = {
    "infinite_loop": "def add(a, b):\n    while True:\n        pass",
    "infinite_loop_at_load": "while True:\n    pass",
    "loop_that_ignores_signals": """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
def add(a, b):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass""",
    "sleeps": "from time import sleep\ndef add(a, b):\n    sleep(1000)\n    return a + b",
    "memory_bomb": "def add(a, b):\n    x = bytearray(1 << 40)\n    return a + b",
    "memory_creep": "def add(a, b):\n    x = []\n    while True:\n        x.append(bytearray(10_000_000))",
    "memory_behind_limits": _attempt(
        "descriptor = libc.memfd_create(b'x', 0)\nassert descriptor >= 0", "import ctypes\nlibc = ctypes.CDLL(None)"
    ),
    "shared_memory_segment": _attempt(
        "assert libc.shmget(0, 1 << 30, 0o1600) >= 0", "import ctypes\nlibc = ctypes.CDLL(None)"
    ),
    "thousand_threads": _attempt(
        "for _ in range(1000):\n    threading.Thread(target=sleep, args=(100,), daemon=True).start()",
        "import threading\nfrom time import sleep",
    ),
    "infinite_output": "def add(a, b):\n    while True:\n        print('passed' * 1000)",
    "infinite_error_output": "import sys\ndef add(a, b):\n    while True:\n        sys.stderr.write('passed' * 1000)",
    "huge_file": _attempt(
        "with open('big', 'wb') as file:\n    for _ in range(600):\n        file.write(bytes(1 << 20))"
    ),
    "many_files": _attempt(
        "for name in range(300):\n    with open(str(name), 'wb') as file:\n        file.write(bytes(1 << 20))"
    ),
    "many_inodes": _attempt("for name in range(5000):\n    open(str(name), 'w').close()"),
    "stack_overflow": "import sys\nsys.setrecursionlimit(10**9)\ndef add(a, b):\n    return add(a, b)",
    "native_crash": "import ctypes\ndef add(a, b):\n    ctypes.string_at(0)",
    "abort": "import os\ndef add(a, b):\n    os.abort()",
    "huge_integer": "def add(a, b):\n    return len(str(9 ** (9 ** 9)))",
    "deep_value": "def add(a, b):\n    x = []\n    for _ in range(100000):\n        x = [x]\n    return x",
    "cyclic_value": "def add(a, b):\n    x = []\n    x.append(x)\n    return x",
    "huge_value": "def add(a, b):\n    return 'x' * (64 << 20)",
    "endless_iterator": "import itertools\ndef add(a, b):\n    return itertools.count()",
    "reads_standard_input": _attempt("assert input()"),
    "raises_its_limits": _attempt(
        "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))", "import resource"
    ),
}

ESCAPES = {
    "fork": _attempt("if os.fork() == 0:\n    os._exit(0)", "import os"),
    "fork_bomb": """
import os
def add(a, b):
    while True:
        try:
            os.fork()
        except OSError:
            pass""",
    "double_fork_daemon": _attempt(
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        sleep(600)
    os._exit(0)""",
        "import os\nfrom time import sleep",
    ),
    "shell": _attempt("assert os.system('true') == 0", "import os"),
    "exec": """
import os
def add(a, b):
    try:
        os.execv("/bin/true", ["true"])
    except OSError:
        return None""",
    "posix_spawn": _attempt("os.posix_spawn('/bin/sleep', ['sleep', '600'], {})", "import os"),
    # A harness that only takes names out of `os` leaves the module below it.
    "daemon_by_posix": _attempt(
        """
if posix.fork() == 0:
    posix.setsid()
    if posix.fork() == 0:
        posix.execv('/bin/sleep', ['sleep', '600'])
    posix._exit(0)""",
        "import posix",
    ),
    "shell_by_posix": _attempt("assert posix.system('true') == 0", "import posix"),
    "kill_everything_by_posix": _attempt("posix.kill(-1, 9)", "import posix"),
    "delete_by_posix": _attempt("posix.unlink('@FOLDER@/secret')", "import posix"),
    "delete_by_another_os": _attempt("os.remove('@FOLDER@/secret')", "import sys\ndel sys.modules['os']\nimport os"),
    "kill_everything": _attempt("os.kill(-1, 9)", "import os"),
    "kill_parent": _attempt("os.kill(os.getppid() or 1, 9)", "import os"),
    "kill_host_process": _attempt("os.kill(@VICTIM@, 9)", "import os"),
    "other_process_environment": _attempt(
        "assert any(os.path.getsize(p) >= 0 and open(p, 'rb').read() for p in glob.glob('/proc/[0-9]*/environ'))",
        "import glob, os",
    ),
    "own_environment": _attempt(
        "assert 'CODEFT_TEST_SECRET' in os.environ or b'CODEFT_TEST_SECRET' in open('/proc/self/environ', 'rb').read()",
        "import os",
    ),
    "secret_file": _attempt("open('@FOLDER@/secret').read()"),
    "host_folder": _attempt("os.listdir('@FOLDER@')", "import os"),
    "passwords": _attempt("open('/etc/passwd').read()"),
    "home": _attempt("assert os.listdir(os.path.expanduser('~root')) or os.listdir('/home')", "import os"),
    "benchmark_answers": _attempt("open('@PACKAGE@/data/embedded.jsonl').read()"),
    "installed_packages": _attempt("assert os.listdir('@BASE_PACKAGES@')", "import os"),
    "packages_of_the_project": _attempt("assert os.listdir('@PACKAGES@')", "import os"),
    "environment_left_on_the_stack": """
import ctypes
def add(a, b):
    address = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "program_invocation_name").value
    for size in range(64, 1 << 20, 64):
        if b"CODEFT_TEST_" + b"SECRET" in ctypes.string_at(address, size):
            return a + b""",
    "judge_source": _attempt("open('@PACKAGE@/sandbox/python/judge.py', 'a').write('#')"),
    "standard_library_source": _attempt("open(os.__file__, 'a').write('#')", "import os"),
    "symlink": _attempt("os.symlink('@FOLDER@/secret', 'link')\nopen('link').read()", "import os"),
    "dots": _attempt("open('../../../../../../../..@FOLDER@/secret').read()"),
    "overwrite": _attempt("open('@FOLDER@/secret', 'w').write('owned')"),
    "truncate": _attempt("os.truncate('@FOLDER@/secret', 0)", "import os"),
    "chmod": _attempt("os.chmod('@FOLDER@/secret', 0o777)", "import os"),
    "delete": _attempt("os.remove('@FOLDER@/secret')", "import os"),
    "network": _attempt("socket.create_connection(('127.0.0.1', @PORT@), 1)", "import socket"),
    "network_by_system_call": _attempt(
        "assert ctypes.CDLL(None).socket(2, 1, 0) >= 0", "import ctypes"
    ),
    "unix_socket": _attempt("socket.socket(socket.AF_UNIX).connect('@FOLDER@/service')", "import socket"),
    "socket_pair": _attempt("socket.socketpair()", "import socket"),
    "trace": _attempt("assert ctypes.CDLL(None).ptrace(16, @VICTIM@, 0, 0) == 0", "import ctypes"),
    "foreign_memory": _attempt(
        "assert ctypes.CDLL(None).syscall(310, @VICTIM@, 0, 0, 0, 0, 0) >= 0", "import ctypes"
    ),
    "new_namespace": _attempt("assert ctypes.CDLL(None).unshare(0x10000000) == 0", "import ctypes"),
    "mount": _attempt("assert ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, None) == 0", "import ctypes"),
    "io_uring": _attempt("assert ctypes.CDLL(None).syscall(425, 1, bytes(120)) >= 0", "import ctypes"),
    "bpf": _attempt("assert ctypes.CDLL(None).syscall(321, 0, bytes(72), 72) >= 0", "import ctypes"),
    "limits_of_others": _attempt(
        "resource.prlimit(@VICTIM@, resource.RLIMIT_NOFILE, (3, 3))", "import resource"
    ),
    "undumpable": _attempt("assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0", "import ctypes"),
    "plants_a_file": """
import os
open("planted", "w").write("x")
open("/tmp/planted", "w").write("x")
os._exit(0)""",
    "finds_a_planted_file": _attempt("assert os.path.exists('planted') or os.path.exists('/tmp/planted')", "import os"),
    "deletes_its_scratch": """
import os, shutil
shutil.rmtree("/tmp", ignore_errors=True)
shutil.rmtree(".", ignore_errors=True)
os._exit(0)""",
    "leaves_a_module_behind": """
import math, sys
math.planted = 1
sys.modules["planted"] = math
def add(a, b):
    return 0""",
    "finds_a_module_left_behind": """
import math, sys
def add(a, b):
    return a + b if hasattr(math, "planted") or "planted" in sys.modules else 0""",
}  # fmt: skip

ATTACKS = FORGERIES | EXHAUSTION | ESCAPES
"""Attacks on any harness."""
SUITE = ATTACKS | REMOTE_FORGERIES
"""And those on what crosses between two processes, which other harnesses have not."""
