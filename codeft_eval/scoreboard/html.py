"""Text of strangers inside our pages: a completion is data, whatever it says."""

import html
import re

# What moves or hides other text: controls, direction overrides (CVE-2021-42574), line and paragraph separators.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_UNSAFE_IN_ID = re.compile(r"[^A-Za-z0-9_.-]")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'"
"""Nothing is loaded and no script runs, should an escape ever be forgotten."""
STYLE = """
:root { color-scheme: light dark; --line: #7d859055; --faint: #6a737d; --code: #7d859018; }
@media (prefers-color-scheme: dark) { :root { --faint: #9198a1; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 0 auto; padding: 1rem; }
h1 { margin: 0 0 .3rem; } h2 { margin: 2.2rem 0 .6rem; font-size: 1.2rem; }
small, .faint { color: var(--faint); }
pre { background: var(--code); padding: .6rem; margin: .3rem 0 .8rem; overflow-x: auto; font-size: .82rem;
  direction: ltr; unicode-bidi: isolate; white-space: pre-wrap; overflow-wrap: anywhere; border-radius: 4px; }
summary { cursor: pointer; padding: .35rem 0; overflow-wrap: anywhere; }
details { border-bottom: 1px solid var(--line); }
.badge { display: inline-block; min-width: 4.6rem; font-weight: 600; }
.passed > summary .badge { color: #1a7f37; } .failed > summary .badge { color: #cf222e; }
.unscored > summary .badge { color: #9a6700; }
@media (prefers-color-scheme: dark) {
  .passed > summary .badge { color: #3fb950; } .failed > summary .badge { color: #ff7b72; }
  .unscored > summary .badge { color: #d29922; }
}
a { color: #0969da; } @media (prefers-color-scheme: dark) { a { color: #58a6ff; } }
"""


def shown(text: str) -> str:
    """`text` for a page: escaped, and with a visible name for each character that is not seen."""
    return html.escape(_UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text), quote=True)


def fenced(text: str, limit: int) -> str:
    """`text` as a block, cut at `limit` characters, saying so."""
    rest = len(text) - limit
    note = f'<p class="faint">{rest:,} more characters are in samples.jsonl</p>' if rest > 0 else ""
    return f"<pre>{shown(text[:limit])}</pre>{note}"


def anchor(*parts: object) -> str:
    """An id in a page."""
    return _UNSAFE_IN_ID.sub("-", "-".join(map(str, parts)))


def page(title: str, style: str, body: str) -> str:
    """One self-contained page without a script."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{shown(title)}</title><style>{STYLE}{style}</style></head><body>{body}</body></html>\n"
    )
