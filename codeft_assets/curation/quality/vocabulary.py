"""The words that signals count: keywords of languages, English function words, words of explanation, words of tests.

Invariant: a word is lower case ASCII; its flags are bits, one a list, so that one lookup per word answers all of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codeft_assets.curation.kernels.byte_classes import fnv1a

KEYWORDS = (
    "abstract and as assert async await begin bool boolean break case catch char class const continue def default "
    "defer del delete do double elif else elseif elsif end enum except export extends extern false final finally "
    "float fn for from func function global go if impl implements import in inline instanceof int interface is "
    "lambda let local long loop match mod module mut namespace new nil none nonlocal not null or package pass "
    "private protected pub public raise range return select self short signed sizeof static string struct super "
    "switch template then this throw throws trait true try type typedef typename typeof union unless unsigned "
    "until use using val var virtual void where while with yield"
)
FUNCTION_WORDS = (
    "a about after all also an any are at be been before being both but by can could did does each every had has "
    "have he her his how i into it its just like made make many may might more most much must my no now of on one "
    "only other our out over same she should so some such than that the their them there these they those to two "
    "under up very was we were what when which who will would you your"
)
EXPLANATIONS = (
    "answer assume because called cases compute consider contains define describes equal equals example examples "
    "exercise explain explains find first follows formula given hence here idea imagine instead lesson let lets "
    "means namely next note notice observe otherwise problem proof question reason recall remember represents "
    "result second since show shows simply solution solve step steps suppose therefore think third thus "
    "understand usually whether why"
)
IMPORTS = "import from use using include require package open"
DEFINITIONS = (
    "def class function func fn struct interface trait impl type enum async public private protected static pub"
)
TESTS = (
    "assert expect assertequal asserttrue assertfalse assertraises assert_eq test it describe should mock pytest "
    "unittest"
)
WORD_LISTS = (KEYWORDS, FUNCTION_WORDS, EXPLANATIONS, IMPORTS, DEFINITIONS, TESTS)
"""The words of each flag, in the order of its bit."""
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""The eight of Gopher (arXiv 2112.11446, table A1): a page of prose holds at least two of them."""

_FUNCTION_WORD = 1  # index of FUNCTION_WORDS in WORD_LISTS
_TABLE_SIZE = 2048  # a power of two for the kernel's mask; seven times the words: look-ups rarely take a second slot


def word_table() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint16]]:
    """Return an open-addressing table: word hashes (0 is empty) and flags; the upper byte is the stop word."""
    flags: dict[str, int] = {}
    for bit, words in enumerate(WORD_LISTS):
        for word in words.split():
            flags[word] = flags.get(word, 0) | 1 << bit
    for bit, word in enumerate(STOP_WORDS):
        flags[word] = flags.get(word, 0) | 1 << _FUNCTION_WORD | 1 << 8 + bit
    keys, values = np.zeros(_TABLE_SIZE, dtype=np.uint64), np.zeros(_TABLE_SIZE, dtype=np.uint16)
    for word, bits in flags.items():
        key = fnv1a(word)
        slot = key % _TABLE_SIZE
        while keys[slot]:
            slot = (slot + 1) % _TABLE_SIZE
        keys[slot], values[slot] = key, bits
    return keys, values
