"""Measurements of one file of code by the definitions of OpenCoder's filters (arXiv 2411.04905, appendix A).

Written after the definitions in its published filters (OpenCoder-llm/opc_data_filtering, 44b857e8). Pygments separates
comments from code, which takes about two CPU-seconds a megabyte; it runs where the preset is switched on. Lines are
counted with blank ones (``raw``), or without comments and blank ones (``code``).
"""

from __future__ import annotations

import ast
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from codeft_assets.python_names import without_warnings

Measured = Mapping[str, float | None]
"""Name -> value; None where a file has nothing to measure, which breaks no rule."""
LONG_STRING_WORDS, LONG_WORD_CHARS = 20, 20
_HEAD_CHARS, _XML_CHARS, _BLOB_CHARS = 200, 100, 1024
_WORD = re.compile(r"\w+|[^\w\s]+")
_LINE = re.compile(r"[^\n]*\n|[^\n]+$")
_FULL_WIDTH = "".join(chr(ord(sign) + 0xFEE0) for sign in string.punctuation)
_PUNCTUATION = str.maketrans(
    dict.fromkeys(f"{string.punctuation}{_FULL_WIDTH}。、《》【】「」“”‘’\u2009\u200b", " ")
    | dict.fromkeys([chr(n) for n in range(0x20) if n not in {*range(8, 14), 0x1B}] + ["\u202c"], "")
)
_TRIPLE = r"'''(.*?)'''|\"\"\"(.*?)\"\"\""
_STRING = re.compile(rf"{_TRIPLE}|'([^\n]*?)'|\"([^\n]*?)\"", re.DOTALL)
_ANY_STRING = re.compile(rf"{_TRIPLE}|'(.*?)'|\"(.*?)\"", re.DOTALL)
_URL = re.compile(r"https?://\S")
_HEX = re.compile(r"\b0[xX][0-9a-fA-F]+\b")
_BLOBS = (
    re.compile(r"[a-zA-Z0-9+/\n=]{64,}"),
    re.compile(r"(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}"),
    re.compile(r"(?:\\u[0-9a-fA-F]{4}){8,}"),
)
"""Base64, bytes in hexadecimal and escaped characters, long enough to be data."""
_RETURN = re.compile(r"^\s*return(?:\s+.+)?\s*$", re.MULTILINE)
_MAIN = re.compile(r"\bmain\s*\([^)]*\)\s*\{")
PRINTS = {
    "python": ("print",),
    "c": ("printf",),
    "cpp": ("cout", "printf"),
    "csharp": ("Console.WriteLine",),
    "go": ("fmt.Print",),
    "java": ("System.out.print",),
    "javascript": ("console.log",),
}
"""What a line that prints contains."""
_GENERATED = ("generate", "autogen", "do not edit")
_TO_DO = ("your code here", "fixme", "todo")


@dataclass(frozen=True, slots=True)
class File:
    """A file in its parts."""

    text: str
    language: str
    code: str
    """Without comments and docstrings."""
    comments: str
    """Of the lexer, one behind the other."""

    @property
    def code_lines(self) -> list[str]:
        """Lines of code that are not blank."""
        return [line for line in _LINE.findall(self.code) if line.strip()]


def read_file(text: str, language: str) -> File:
    """Return a file with its comments apart from its code; in a language that Pygments does not know, all is code."""
    from pygments.lexers import get_lexer_by_name
    from pygments.token import Comment, Literal
    from pygments.util import ClassNotFound

    separated = {Comment.Multiline, Comment.Single, Comment.Hashbang, Comment.Special, Literal.String.Doc}
    try:
        tokens = list(get_lexer_by_name(language).get_tokens(text))
    except ClassNotFound:
        return File(text, language, text, "")
    parts = ["".join(value for kind, value in tokens if (kind in separated) is wanted) for wanted in (False, True)]
    return File(text, language, *parts)


def measure(text: str, language: str) -> dict[str, float | None]:
    """Return the measurements of a file; those of one language alone where it is of that language."""
    file = read_file(text, language)
    python = measure_python(file) if language == "python" else {}
    return {**_measure_text(text), **_measure_lines(file), **_measure_strings(file), **python}


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 8) if whole else None


def _words(text: str) -> list[str]:
    """Return the words of a text, without case and punctuation."""
    lines = (line.translate(_PUNCTUATION).lower() for line in _LINE.findall(text))
    return [word for line in lines for word in _WORD.findall(unicodedata.normalize("NFKC", " ".join(line.split())))]


def _measure_text(text: str) -> dict[str, float | None]:
    words, visible = _words(text), re.sub(r"\s+", "", text)
    sizes = [len(word) for word in words]
    found = {
        "replacement_characters": _share(text.count("\ufffd"), len(text)),
        "num_words": len(words),
        "num_chars": len(text),
        "word_chars": _share(sum(sizes), len(words)),
        "unique_words": _share(len(set(words)), len(words)),
        "num_bytes": len(text.encode("utf-8", "replace")),
        "letters": _share(sum(map(str.isalpha, visible)), len(visible)) or 0.0,
        "digits": _share(sum(map(str.isdigit, visible)), len(visible)) if visible else 1.0,
        "blanks": _share(len(text) - len(visible), len(text)) if text else 1.0,
        "xml": float("<?xml version=" in text[:_XML_CHARS]),
        "generated": float(any(mark in text[:_HEAD_CHARS].lower() for mark in _GENERATED)),
        "encoded": float(_is_encoded(text)),
    }
    found |= {f"top_{n}grams": _top_grams(words, sizes, n) for n in (2, 3, 4)}
    return found | {f"repeated_{n}grams": _repeated_grams(words, sizes, n) for n in range(5, 11)}


def _is_encoded(text: str) -> bool:
    matches = [len(match[0]) for pattern in _BLOBS for match in pattern.finditer(text)]
    return bool(matches) and (max(matches) > _BLOB_CHARS or sum(matches) > len(text) / 2)


def _grams(words: list[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(n)), strict=False)


def _top_grams(words: list[str], sizes: list[int], n: int) -> float:
    """Return the share of characters that are in the commonest n-gram, if it comes twice."""
    common = Counter(_grams(words, n)).most_common(1)
    if not common or common[0][1] == 1:
        return 0.0
    (gram, count), total = common[0], sum(sizes)
    return round(sum(map(len, gram)) * count / total, 8)


def _repeated_grams(words: list[str], sizes: list[int], n: int) -> float:
    """Return the share of characters that are in any n-gram that comes twice, each character once."""
    grams = list(_grams(words, n))
    counts = Counter(grams)
    repeated = [False] * len(words)
    for place, gram in enumerate(grams):
        if counts[gram] > 1:
            repeated[place : place + n] = [True] * n
    return (
        _share(sum(size for size, is_repeated in zip(sizes, repeated, strict=True) if is_repeated), sum(sizes)) or 0.0
    )


def _measure_lines(file: File) -> dict[str, float | None]:
    raw, code = _LINE.findall(file.text), file.code_lines
    squeezed = Counter("".join(line.split()) for line in code)
    repeated = sum(n for line, n in squeezed.items() if n > 1 and len(line) > 1 and line != "},")
    comments = _python_comments(file.text) if file.language == "python" else file.comments
    to_do = [line for line in _LINE.findall(file.comments) if line.strip() and any(x in line.lower() for x in _TO_DO)]
    return {
        "num_lines": len(raw),
        "line_chars_most": max(map(len, raw), default=0),
        "line_chars_mean": _share(sum(map(len, raw)), len(raw)) or 0.0,
        "comments": _share(len(comments), len(file.text)),
        "repeated_lines": _share(repeated, len(code)),
        "to_do_lines": _share(len(to_do), len(raw)),
        "assert_lines": _share(sum("assert" in line.lower() for line in code), len(code)),
        "print_lines": _share(sum(any(x in line for x in PRINTS.get(file.language, ())) for line in code), len(code)),
        "num_mains": len(_MAIN.findall(file.code)),
    }


@without_warnings()
def _python_comments(text: str) -> str:
    """Return docstrings, if the file parses, and comments without their signs, if it can be read to its end."""
    import tokenize
    from io import StringIO

    try:
        tree = ast.parse(text)
        owners = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Module)]
        docstrings = "\n".join(filter(None, map(ast.get_docstring, owners)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        docstrings = ""
    try:
        found = tokenize.generate_tokens(StringIO(text).readline)
        tokens = [token for token in found if token.type == tokenize.COMMENT]
    except (tokenize.TokenError, SyntaxError):
        tokens = []
    comments = "".join(token.string for token in tokens).replace("#", "")
    return f"{docstrings}\n{comments}".strip()


def _measure_strings(file: File) -> dict[str, float | None]:
    strings = [text for groups in _STRING.findall(file.code) for text in groups if text]
    lines = [line for groups in _ANY_STRING.findall(file.code) for text in groups for line in text.split("\n")]
    words = [word for text in strings for word in text.split() if len(word) > LONG_WORD_CHARS and not _URL.search(word)]
    hexadecimal = sum(map(len, _HEX.findall(file.code)))
    return {
        "long_strings": _share(sum(len(_WORD.findall(x)) > LONG_STRING_WORDS for x in lines), len(file.code_lines)),
        "strings": _share(sum(map(len, strings)), len(file.code)),
        "long_words": _share(sum(map(len, words)), len(file.code)),
        "hexadecimal": _share(hexadecimal, len(file.code)),
    }


@without_warnings()
def measure_python(file: File) -> dict[str, float | None]:
    """Return what is measured of Python alone; without a syntax tree, of its lines."""
    lines = file.code_lines
    imports = sum("import" in line.lower() for line in lines)
    found: dict[str, float | None] = {
        "python_pass": _share(sum("pass" in line.lower() for line in lines), len(lines)) or 0.0,
        "python_imports": _share(imports, len(lines)) or 0.0,
    }
    try:
        tree = ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return found | {"python_parses": 0.0}
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    simple = [node for node in functions if len(node.body) == 1 and isinstance(node.body[0], ast.Return)]
    plain = len(functions) + imports + sum(isinstance(node, ast.ClassDef) for node in nodes)
    plain += len(_RETURN.findall(file.code)) + sum(map(_num_fields, _outer_classes(tree)))
    return found | {
        "python_parses": 1.0,
        "python_functions": _share(len(functions), len(lines)),
        "python_no_variable": float(not any(map(_binds_a_name, nodes))) if lines or nodes else None,
        "python_simple_functions": _share(len(simple), len(lines)),
        "python_no_logic": _share(plain, len(lines)),
    }


def _binds_a_name(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) for target in node.targets)
    is_loop = isinstance(node, ast.For) and isinstance(node.target, ast.Name)
    return is_loop or (isinstance(node, ast.FunctionDef) and bool(node.args.args))


def _outer_classes(node: ast.AST) -> Iterator[ast.ClassDef]:
    """Yield classes that are in no class."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield child
        else:
            yield from _outer_classes(child)


def _num_fields(node: ast.ClassDef) -> int:
    """Return how many names the body of a class itself assigns."""
    targets = [target for item in node.body if isinstance(item, ast.Assign) for target in item.targets]
    targets += [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
    return sum(isinstance(target, ast.Name) for target in targets)
