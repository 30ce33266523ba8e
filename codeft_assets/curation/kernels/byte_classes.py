"""Classes of bytes and the hash of a word, as the byte-by-byte kernels and the vocabulary share them.

A word is a run of ASCII letters, digits, underscores and bytes of 0x80 and above, ASCII case folded: the same as in
``words``, which finds 64 bytes at a time. These kernels look at each byte anyway, and FNV-1a takes one byte a step;
``words`` hashes eight at once. The two hashes never meet: signals and embeddings were fitted and stored with this one,
signatures with the other.

numba freezes these values into the kernels that import them, which hold the hash of this file: see ``hash_tables``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LETTER, DIGIT, SPACE, WORD = 1, 2, 4, 8
"""Bits of ``BYTE_CLASSES``."""
# FNV-1a of 64 bits (Fowler, Noll and Vo). Products wrap modulo 2^64 by definition: the kernels count in uint64.
FNV_OFFSET, FNV_PRIME = np.uint64(14695981039346656037), np.uint64(1099511628211)


def _byte_classes() -> npt.NDArray[np.uint8]:
    classes = np.zeros(256, dtype=np.uint8)
    for byte in range(256):
        char = chr(byte)
        if byte < 128 and char.isalpha():
            classes[byte] |= LETTER | WORD
        if byte < 128 and char.isdigit():
            classes[byte] |= DIGIT | WORD
        if char in " \t\n\r\x0b\x0c":
            classes[byte] |= SPACE
        if char == "_" or byte >= 128:  # every byte of a non-ASCII character, without decoding UTF-8
            classes[byte] |= WORD
    return classes


def _folded_bytes(classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    folded = np.arange(256, dtype=np.uint8)
    folded[ord("A") : ord("Z") + 1] += ord("a") - ord("A")
    folded[classes & WORD == 0] = 0
    return folded


BYTE_CLASSES = _byte_classes()
FOLDED = _folded_bytes(BYTE_CLASSES)
"""Each byte of a word with ASCII letters in lower case, 0 for a byte that ends a word: one look-up answers both."""


def fnv1a(word: str) -> int:
    """Return the FNV-1a hash of ``word``, a word in lower case, as the kernels compute it."""
    key = int(FNV_OFFSET)
    for byte in word.encode():
        key = ((key ^ byte) * int(FNV_PRIME)) & (1 << 64) - 1
    return key
