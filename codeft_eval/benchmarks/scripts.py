"""Programs that read standard input and write standard output, as functions that a test can call with a text."""

from __future__ import annotations

ENTRY_POINT = "run_script"
# A file object serves `input`, `sys.stdin` and its buffer; `open` covers the other usual ways to read descriptor 0.
_RUNNER = '''
def run_script(text):
    """Return what the program prints for an input."""
    import io
    import sys

    def open_file(file, *arguments, **named):
        return sys.stdin if file in (0, "/dev/stdin") else open(file, *arguments, **named)

    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")
    sys.stdout = output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    namespace = {"__name__": "__main__", "open": open_file}
    try:
        exec(_HEADER, namespace)
        namespace["open"] = open_file
        exec(_SCRIPT, namespace)
    except SystemExit:
        pass
    output.flush()
    return output.buffer.getvalue().decode(errors="replace")
'''
SAME_OUTPUT = '''
def is_same_output(found, expected):
    """Compare lines without outer white space, as texts or as numbers of the same value."""
    from decimal import Decimal, InvalidOperation

    if type(found) is not str:
        return False
    pairs = [text.strip().split("\\n") for text in (found, expected)]
    if len(pairs[0]) != len(pairs[1]):
        return False
    for line, wanted in zip(*pairs):
        try:
            if line.strip() != wanted.strip() and [*map(Decimal, line.split())] != [*map(Decimal, wanted.split())]:
                return False
        except InvalidOperation:
            return False
    return True
'''
"""A function of the tests."""


def script_as_function(source: str, header: str = "") -> str:
    """Return a module whose ``run_script`` runs ``source`` as the main program for each text; ``header`` first."""
    code = f'_HEADER = {header!r}\n_SCRIPT = compile({source!r}, "<candidate>", "exec", dont_inherit=True)\n'
    return code + _RUNNER
