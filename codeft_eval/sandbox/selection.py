"""PROVIDERS, the one place to plug in a provider: the language of a program selects how it is isolated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from codeft_eval.sandbox.native.provider import NativeProvider
from codeft_eval.sandbox.native.toolchains import TOOLCHAINS
from codeft_eval.sandbox.provider import Provider
from codeft_eval.sandbox.python.provider import PythonProvider

PROVIDERS: dict[str, Callable[[], Provider]] = {
    "python": PythonProvider,
    **{language: partial(NativeProvider, language) for language in TOOLCHAINS},
}


def provider_for(language: str, libraries: Sequence[str] = ()) -> Provider:
    """Return a provider for programs of ``language`` that may import ``libraries``; only Python's programs may."""
    if language not in PROVIDERS:
        raise ValueError(
            f"language {language!r}: the sandbox has providers for {sorted(PROVIDERS)}; add an entry to "
            "codeft_eval.sandbox.selection.PROVIDERS"
        )
    if not libraries:
        return PROVIDERS[language]()
    if language != "python":
        raise ValueError(f"libraries {sorted(libraries)}: only Python programs may import them, not {language}'s")
    return PythonProvider(libraries)
