"""Programming languages: which one a suffix, a fence's tag or the lines of a text name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import PurePosixPath

LANGUAGE_BY_SUFFIX = {
    ".py": "python",
    ".pyi": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".jsx": "javascript",
    ".ts": "typescript",
    ".tsx": "typescript",
    ".rs": "rust",
    ".go": "go",
    ".java": "java",
    ".c": "c",
    ".h": "c",
    ".cpp": "cpp",
    ".cc": "cpp",
    ".hpp": "cpp",
    ".cs": "csharp",
    ".rb": "ruby",
    ".php": "php",
    ".sh": "shell",
    ".bash": "shell",
    ".sql": "sql",
    ".html": "html",
    ".css": "css",
    ".kt": "kotlin",
    ".swift": "swift",
    ".scala": "scala",
    ".lua": "lua",
    ".r": "r",
    ".jl": "julia",
    ".hs": "haskell",
    ".pl": "perl",
    ".dart": "dart",
    ".ex": "elixir",
    ".exs": "elixir",
}
LANGUAGE_BY_FENCE = {suffix.lstrip("."): language for suffix, language in LANGUAGE_BY_SUFFIX.items()} | {
    **{language: language for language in LANGUAGE_BY_SUFFIX.values()},
    "python3": "python",
    "golang": "go",
    "c++": "cpp",
    "c#": "csharp",
}

_FENCE = re.compile(r"^[ \t]*```[ \t]*([A-Za-z0-9+#]+)[^\n]*\n", re.MULTILINE)
_END = r"end[,;)]?(?=\n)"
_BARE = r"(?:if|while|for|switch) [^(\n]*[^:(\n]\{(?=\n)"  # no parentheses: Go, Rust and Swift
# What a language writes and few others do: beginnings of lines, without their indentation, and parts of lines. Where
# several languages share one, the others decide: the one with most of them wins, of equals the one that stands first.
_BEGINNINGS = {
    "python": (
        r"(?:async )?def \w+\(.*(?:\).*:|,|\()(?=\n)|from [\w.]+ import |class \w+(?:\(.*\))?:(?=\n)",
        r"print\(.*\)(?=\n)|import (?!(?:java|kotlin|scala|org|com)\b)[a-z_][\w.]*(?: as \w+)?(?=\n)",
        r"(?:if|elif|while|for|with|except)\b.*:(?=\n)|(?:else|try|finally):(?=\n)",
        r"(?:assert|raise) .*[^;{](?=\n)|self\.\w+.*[^;{](?=\n)",
    ),
    "java": (
        r"(?:public |private |protected |static |final |abstract )+(?:<.*> )?[\w<>\[\], .?]+ [a-z]\w*\(.*[{,(](?=\n)",
        r"(?:public |private |protected |static |final |abstract )+(?:class|interface|enum) \w+.*\{(?=\n)",
        r"(?:import|package) (?:static )?[a-z][\w.*]*;(?=\n)|@Override\n|System\.out\.|throw new \w+\(",
        r"(?:final )?(?:String|Map|List|Set|Deque|Queue|ArrayList|Integer|int\[\]|boolean)[\w<>\[\], ]* \w+ = ",
    ),
    "csharp": (
        r"using (?:System|static|Xunit|Microsoft)\b.*;(?=\n)|namespace [A-Z][\w.]*[;{]?(?=\n)",
        r"\[[A-Z]\w+(?:\(.*\))?\](?=\n)",
        r"(?:public|private|protected|internal) (?:\w+ )*[\w<>\[\],.?]+ [A-Z]\w*(?:<.*>)?\(|Console\.",
        r"foreach \((?!\$)",
        r"(?:public |internal |private |static |sealed )+(?:class|struct|record|interface) \w+(?: : .*|<.*)?(?=\n)",
        r"var \w+ = new \w|(?:string|bool|IList<.*>) \w+ = ",
    ),
    "kotlin": (
        r"(?:\w+ )*fun (?:<.*> )?[\w.<>]+\(",
        r"(?:private |override |const |lateinit )*va[lr] \w+(?::| =| by).*[^;{](?=\n)",
        r"(?:data|sealed|enum|open|inner|companion) (?:class|object)\b",
        r"class \w+(?:\(.*\)|.* : .*)(?: \{)?(?=\n)|@Test\n|import (?:kotlin|java|org)[\w.*]*(?=\n)",
        r"package [\w.]+\.\w+(?=\n)|when ?(?:\(.*\))? \{(?=\n)|for \(\w+ in |else -> |is \w+ -> ",
    ),
    "scala": (
        r"(?:override |private |implicit )*def \w+.*(?:=|= \{|= .*[^;])(?=\n)",
        r"(?:case class|case object|object|trait|sealed) \w+",
        r"(?:private |lazy |implicit )*va[lr] \w+(?::| =).*[^;](?=\n)",
        r"import (?:scala|java|org)\.[\w.{}, ]*(?=\n)|case .* =>|(?:pending|test\(\".*)\n",
    ),
    "swift": (
        r"(?:\w+ )*func \w+(?:<.*>)?\(.*\)(?: r?e?throws)?(?: -> .*)? \{(?=\n)",
        r"(?:let|var) \w+(?:: [\w\[\]<>?:, ]+)?(?: = .*[^;]| \{)(?=\n)",
        r"import (?:Foundation|UIKit|SwiftUI|XCTest|Testing|Numerics)\n|guard |if (?:let|var) |extension \w+",
        r"(?:convenience )?init\??\(|protocol \w+|@testable |for \w+ in .*\{(?=\n)",
        _BARE,
    ),
    "go": (
        r"package \w+\n|import \(\n|func (?:\(\w+ \*?[\w\[\]]+\) )?\w*(?:\[.*\])?\(.*\{(?=\n)",
        r"\w+(?:, \w+)* := |type \w+ (?:struct|interface) \{(?=\n)|var \w+ [\w\[\]*.]+(?=\n)|defer ",
        r"go func\(|for (?:range|\w+(?:, \w+)? := range) ",
        _BARE,
    ),
    "rust": (
        r"(?:pub(?:\(\w+\))? )?(?:const |async |unsafe )*fn \w+.*[{>(](?=\n)",
        r"let (?:mut )?\w+(?:: [^=\n]+)? = .*[;{(](?=\n)|impl\b.*\{(?=\n)|(?:pub )?use [\w:]+.*;(?=\n)",
        r"#!?\[\w+|(?:pub )?mod \w+[;{ ]|(?:pub )?(?:enum|struct|trait) \w+|match .* \{(?=\n)",
        r"\w.* => .*,(?=\n)",
        _BARE,
    ),
    "javascript": (
        r"(?:export )?(?:default )?(?:async )?function\*? ?\w*\(.*[{)](?=\n)",
        r"(?:export )?(?:const|let|var) (?:\w+|[{\[].*[}\]]) = |(?:module\.)?exports\b|console\.log\(",
        r"import .* from ['\"]|\* @(?:param|returns?) \{|constructor\(.*\) \{(?=\n)|return function\b",
    ),
    "typescript": (
        r"(?:export )?interface \w+|(?:export )?type \w+(?:<.*>)? =|(?:public |private |readonly )+\w+[?(:]",
        r"declare ",
    ),
    "c": (
        r"#include [<\"][\w/]+\.h[>\"]|#(?:define|ifdef|ifndef|endif|undef)\b|typedef |struct \w+ ?\{?(?=\n)",
        r"(?:free|printf)\(",
        r"(?:static |const |unsigned |inline )*(?:int|void|char|bool|double|float|size_t|long|struct \w+)\*? \*?\w+"
        r"\(.*[){,](?=\n)",
    ),
    "cpp": (
        r"#include <\w+>|using namespace |template ?<|(?:public|private|protected):(?=\n)|namespace [a-z]\w*",
        r"using \w+ = |(?:const )?auto ?[&*]* ?\w+ = |for \((?:const )?auto|string \w+\(.*\) \{(?=\n)",
    ),
    "php": (
        r"<\?php|(?:public |private |static )*function \w*\(.*\$|\$\w+(?:\[.*\]|->\w+)* [.+*-]?= .*;(?=\n)",
        r"echo .*;(?=\n)|foreach \(\$|namespace [\w\\]+;(?=\n)|use [\w\\]+;(?=\n)|return \$\w",
        r"declare\(strict",
    ),
    "perl": (
        r"use (?:strict|warnings|feature|v5|Modern)\b|#!.*\bperl|(?:my|our|local) [$@%(]|sub \w+ ?\{?(?=\n)",
        r"elsif \(|foreach (?:my )?\$|package [\w:]+;(?=\n)|return [$@%\\]|print .*\\n",
    ),
    "ruby": (
        r"def (?:self\.)?\w+[?!=]?(?:\(.*\))?(?=\n)|def \w+ = |require(?:_relative)? ['\"]|module [A-Z]\w*\n",
        r"class [A-Z]\w*(?: < [\w:.]+)?(?=\n)|attr_\w+ :|puts\b|elsif |unless |# @(?:param|return)",
        _END,
    ),
    "lua": (
        r"local (?:function )?\w+|(?:return )?function\b.*\)(?=\n)|(?:else)?if .* then(?=\n)",
        r"(?:for|while) .* do(?=\n)|\w+\.\w+ = function\(.*\)(?=\n)|--\[\[|\w+ = nil(?=\n)",
        _END,
    ),
    "julia": (
        r"function \w+\(.*\)(?: where .*)?(?=\n)|using [A-Z][\w., :]*(?=\n)|@test|include\(|export \w+",
        r"(?:mutable )?struct \w+(?=\n)|println\(|for \w+ (?:in|=) .*(?=\n)|\w+\(.*\) = ",
        _END,
    ),
    "elixir": (
        r"defmodule |defp? \w+.*(?: do|, do: .*)(?=\n)|\|> |use ExUnit|@(?:spec|doc|moduledoc|tag|type)\b",
        r"test \".*\" do(?=\n)|iex>|\w+ = fn |alias ",
        _END,
    ),
    "haskell": (
        r"module [A-Z][\w.]*.*|import (?:qualified )?[A-Z][\w.]*(?: \(.*\)| hiding .*| as .*)?(?=\n)",
        r"\w+ :: .*|data \w+ .*=|instance |newtype |\{-# |main = do\n|\w+ <- .*[^;)](?=\n)",
    ),
    "r": (r"[\w.]+ <- |library\(\w+\)|source\(|test_that\(|expect_equal\(|context\(",),
    "dart": (
        r"import '(?:package|dart):|void main\(\) |final \w+(?:<.*>)? \w+ = |@override\n",
        r"(?:final|late) \w+ = |test\('|group\('",
        r"(?:List|Map|String|int|bool|void)(?:<.*>)? (?:get )?\w+(?:\(.*\))? (?:=> |async |\{(?=\n))",
    ),
    "sql": (
        r"(?i:select\b|create (?:table|or replace|function|view)\b|insert into |delete\b.*\bfrom |update \w+)",
        r"(?i:drop table |from [\w`\"(]+|where |group by |order by |having |limit \d+;?(?=\n)|union(?: all)?(?=\n))",
        r"(?i:(?:left|right|inner|outer|cross)? ?join )",
    ),
    "shell": (
        r"#!/.*\b(?:ba|z|k)?sh\b|(?:fi|done|esac)\b|if \[\[? |(?:then|do)\n|echo |export \w+=|set -\w",
        r"\w+\(\) ?\{(?=\n)|local \w+|case .* in(?=\n)|\w+=[\"'$\w/(].*[^;](?=\n)",
        r"(?:sudo|cd|mkdir|rm|cp|mv|apt-get|pip|docker|curl|git|wget) .*[^;](?=\n)",
    ),
}
_PARTS = {
    "csharp": (r"\{ get;|\.(?:Length|Count|Add\(|Select\(|ToList\(|ContainsKey\()",),
    "kotlin": (r" \?: |!!",),
    "scala": (r" match \{\n",),
    "javascript": (r"\brequire\(['\"]| [!=]== |=> [{(]?\n",),
    "typescript": (r"[\w)?]: (?:string|number|boolean|void|any|unknown|\w+\[\]|(?:Array|Map|Promise)<|\w+ \| null)",),
    "c": (r"\bmalloc\(|\bsizeof\(|\w->\w",),
    "cpp": (
        r"\bstd::|\b(?:vector|unordered_map|unordered_set|pair|queue|priority_queue|stack)<|\bnullptr\b",
        r"\b(?:cout|cin) ?(?:<<|>>)",
    ),
    "php": (r"\$this->|\$\w+\)",),
    "perl": (r"\bshift;| =~ |->\{",),
    "ruby": (r" do \|.*\|\n|\b(?:loop|describe .*|it .*) do\n|\{ ?\|[\w, ()]+\||\.(?:each|map|nil\?|empty\?)\b",),
    "lua": (r" ~= |[\w\"')] \.\. [\w\"'(]|\bi?pairs\(",),
    "julia": (r"::(?:Int|Float64|String|Vector|AbstractString|Integer|Bool)|\b(?:push!|sort!)",),
    "elixir": (r"&\(?&1|%\{\w+: |\bEnum\.",),
    "haskell": (r" <\$> | >>= ",),
    "r": (r" %[>o]*% |<- function\(",),
}
_CUES = {
    language: [re.compile(rf"\n(?:{'|'.join(found)})"), re.compile("|".join(_PARTS.get(language, [r"(?!)"])))]
    for language, found in _BEGINNINGS.items()
}
_EXTENDED = {"typescript": "javascript", "cpp": "c"}
"""A language that writes all of another's lines: where it has lines of its own, the other's count for it, too."""
_WINDOW_CHARS, _SMALLEST_SHARE = 8_000, 0.04
"""Cues / lines that are not blank: wrapped prose begins a line with "from" or "where" now and then."""


def language_from_path(path: str) -> str | None:
    """Return the language a file's suffix names, None if it names none."""
    return LANGUAGE_BY_SUFFIX.get(PurePosixPath(path).suffix.lower())


def detect_language(text: str) -> str:
    """Return the language of the code in ``text``: of its fences, else of its distinctive lines, else ``text``."""
    fences = Counter(LANGUAGE_BY_FENCE[tag.lower()] for tag in _FENCE.findall(text) if tag.lower() in LANGUAGE_BY_FENCE)
    if fences:
        return fences.most_common(1)[0][0]
    lines = "\n".join(["", *map(str.strip, text[:_WINDOW_CHARS].split("\n")), ""])
    cues = {name: sum(len(pattern.findall(lines)) for pattern in patterns) for name, patterns in _CUES.items()}
    for language, base in _EXTENDED.items():
        cues[language] += cues[base] * (cues[language] > 0)
    language = max(cues, key=lambda name: cues[name])
    return language if cues[language] > _SMALLEST_SHARE * sum(map(bool, lines.split("\n"))) else "text"
