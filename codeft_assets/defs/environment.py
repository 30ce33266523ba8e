"""Numbers that the environment may set; a malformed one is an error where it is used, and names its variable."""

import os


def read_number(variable: str, default: float, *, minimum: float = 0, unset: str = "") -> float:
    """Return the number in a variable, the default where it is unset or empty; ``unset`` says what that does.

    Raises:
        ValueError: it is no number, or below ``minimum``.
    """
    text = os.environ.get(variable) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not minimum <= value < float("inf"):
        raise ValueError(
            f"{variable}={text!r} is not a number of at least {minimum:g}; change it, or unset it for "
            f"{unset or f'{default:g}'}"
        )
    return value


def read_count(variable: str, default: int, *, unset: str = "") -> int:
    """Return the whole number in a variable, as ``read_number``.

    Raises:
        ValueError: it is no whole number, or negative.
    """
    value = read_number(variable, default, unset=unset)
    if value != int(value):
        raise ValueError(f"{variable}={value:g} is not a whole number; change it, or unset it for {unset or default}")
    return int(value)


def loaded_number(variable: str, default: float) -> float:
    """Return the number for what is read while definitions are loaded, the default where it is malformed.

    An error there would take away every asset; who uses the number reads it again, and fails with the reason.
    """
    try:
        return read_number(variable, default)
    except ValueError:
        return default
