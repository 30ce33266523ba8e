"""Values of numpy, pandas and sympy that cross by value, where a benchmark declares the library.

Each is taken apart into built-in values and built by the library's own constructors from nothing but those. No part is
ever text that a library evaluates: sympy's arguments are sympy objects, and names are looked up among its classes.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

_BYTES_KINDS = "biufcmMSU"
"""Kinds of numpy's dtypes whose values are their bytes."""


def library_name(value: Any) -> str | None:
    """Return the name in ``LIBRARY_TYPES`` of a library's value; None for any other."""
    kind = type(value)
    module = (kind.__module__ or "").partition(".")[0]
    if module not in _NAMES or module not in sys.modules:
        return None
    return next((name for name in _NAMES[module] if _ACCEPTS[name](value)), None)


def library_parts(name: str, value: Any) -> Sequence:
    """Return what the value is made of."""
    return LIBRARY_TYPES[name][0](value)


def build_library_value(name: str, parts: Sequence) -> Any:
    """Return the value that the parts make."""
    return LIBRARY_TYPES[name][1](importlib.import_module(name.partition(".")[0]), *parts)


def _is_array(value: Any) -> bool:
    return type(value) is sys.modules["numpy"].ndarray and value.dtype.kind in _BYTES_KINDS + "O"


def _array_parts(array: Any) -> Sequence:
    if array.dtype.kind == "O":
        return ["O", list(array.shape), list(array.ravel())]
    return [array.dtype.str, list(array.shape), array.tobytes()]


def _build_array(numpy: Any, dtype: str, shape: list, content: Any) -> Any:
    if dtype == "O":
        array = numpy.empty(len(content), dtype=object)
        array[:] = content
        return array.reshape(shape)
    if 0 in shape:
        return numpy.empty(shape, dtype=dtype)
    return numpy.frombuffer(content, dtype=dtype).reshape(shape).copy()


def _series_parts(series: Any) -> Sequence:
    is_bytes = getattr(series.dtype, "kind", "O") in _BYTES_KINDS and type(series.dtype).__module__.startswith("numpy")
    values = series.to_numpy() if is_bytes else series.tolist()
    return [values, str(series.dtype), series.index, series.name]


def _build_series(pandas: Any, values: Any, dtype: str, index: Any, name: Any) -> Any:
    return pandas.Series(values, dtype=dtype, index=index, name=name)


def _frame_parts(frame: Any) -> Sequence:
    columns = [_series_parts(frame.iloc[:, number])[:2] for number in range(frame.shape[1])]
    return [columns, frame.columns, frame.index]


def _build_frame(pandas: Any, columns: list, names: Any, index: Any) -> Any:
    series = {number: pandas.Series(values, dtype=dtype, index=index) for number, (values, dtype) in enumerate(columns)}
    frame = pandas.DataFrame(series, index=index)
    frame.columns = names
    return frame


def _index_parts(index: Any) -> Sequence:
    kind = type(index).__name__
    if kind == "RangeIndex":
        return [kind, [index.start, index.stop, index.step], "", index.name]
    if kind == "MultiIndex":
        return [kind, index.tolist(), "", list(index.names)]
    values, dtype, *_ = _series_parts(index.to_series())
    return ["Index", values, dtype, index.name]


def _build_index(pandas: Any, kind: str, values: Any, dtype: str, name: Any) -> Any:
    if kind == "RangeIndex":
        return pandas.RangeIndex(*values, name=name)
    if kind == "MultiIndex":
        return pandas.MultiIndex.from_tuples(values, names=name)
    return pandas.Index(values, dtype=dtype, name=name)


def _is_expression(value: Any) -> bool:
    sympy = sys.modules["sympy"]
    if not isinstance(value, sympy.Basic) or getattr(sympy, type(value).__name__, None) is not type(value):
        return isinstance(value, sympy.Basic) and _is_atom(value)
    return _is_atom(value) or all(isinstance(argument, sympy.Basic) for argument in value.args)


def _is_atom(value: Any) -> bool:
    sympy = sys.modules["sympy"]
    is_single = getattr(sympy.S, type(value).__name__, None) is value
    return is_single or isinstance(value, (sympy.Integer, sympy.Rational, sympy.Float, sympy.Symbol))


def _expression_parts(value: Any) -> Sequence:
    sympy, kind = sys.modules["sympy"], type(value).__name__
    if isinstance(value, sympy.Integer):
        return ["Integer", [int(value)]]
    if isinstance(value, sympy.Rational):
        return ["Rational", [int(value.p), int(value.q)]]
    if isinstance(value, sympy.Float):
        return ["Float", [str(value), int(value._prec)]]
    if type(value) is sympy.Symbol:
        return ["Symbol", [value.name, dict(value.assumptions0)]]
    if getattr(sympy.S, kind, None) is value:
        return ["S", [kind]]
    return [kind, list(value.args)]


def _build_expression(sympy: Any, kind: str, arguments: list) -> Any:
    if kind in ("Integer", "Rational") and all(type(argument) is int for argument in arguments):
        return getattr(sympy, kind)(*arguments)
    if kind == "Float" and re.fullmatch(r"-?[\d.]+(?:[eE][+-]?\d+)?", arguments[0]):
        return sympy.Float(arguments[0], precision=int(arguments[1]))
    if kind == "Symbol" and all(isinstance(fact, (bool, type(None))) for fact in arguments[1].values()):
        return sympy.Symbol(arguments[0], **arguments[1])
    if kind == "S" and isinstance(getattr(sympy.S, arguments[0]), sympy.Basic):
        return getattr(sympy.S, arguments[0])
    found = getattr(sympy, kind)
    if not issubclass(found, sympy.Basic) or not all(isinstance(argument, sympy.Basic) for argument in arguments):
        raise ValueError(f"no expression {kind!r} of expressions")
    return found(*arguments)


def _is_matrix(value: Any) -> bool:
    return isinstance(value, sys.modules["sympy"].MatrixBase)


def _is_pandas(*names: str) -> Callable[[Any], bool]:
    return lambda value: type(value).__name__ in names


LIBRARY_TYPES: dict[str, tuple[Callable[[Any], Sequence], Callable[..., Any]]] = {
    "numpy.ndarray": (_array_parts, _build_array),
    "numpy.generic": (
        lambda value: _array_parts(sys.modules["numpy"].asarray(value)),
        lambda numpy, *parts: _build_array(numpy, *parts)[()],
    ),
    "pandas.DataFrame": (_frame_parts, _build_frame),
    "pandas.Series": (_series_parts, _build_series),
    "pandas.Index": (_index_parts, _build_index),
    "pandas.Timestamp": (lambda value: [value.isoformat()], lambda pandas, text: pandas.Timestamp(text)),
    "pandas.Timedelta": (lambda value: [value.value], lambda pandas, number: pandas.Timedelta(number, "ns")),
    "pandas.NA": (lambda _: [], lambda pandas: pandas.NA),
    "pandas.NaT": (lambda _: [], lambda pandas: pandas.NaT),
    "sympy.Basic": (_expression_parts, _build_expression),
    "sympy.Matrix": (lambda value: [value.tolist()], lambda sympy, rows: sympy.Matrix(_expressions(sympy, rows))),
}
_ACCEPTS: dict[str, Callable[[Any], bool]] = {
    "numpy.ndarray": _is_array,
    "numpy.generic": lambda value: isinstance(value, sys.modules["numpy"].generic) and value.dtype.kind in _BYTES_KINDS,
    "pandas.DataFrame": _is_pandas("DataFrame"),
    "pandas.Series": _is_pandas("Series"),
    "pandas.Index": _is_pandas("Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex"),
    "pandas.Timestamp": _is_pandas("Timestamp"),
    "pandas.Timedelta": _is_pandas("Timedelta"),
    "pandas.NA": _is_pandas("NAType"),
    "pandas.NaT": _is_pandas("NaTType"),
    "sympy.Basic": _is_expression,
    "sympy.Matrix": _is_matrix,
}
_NAMES = {
    library: [name for name in LIBRARY_TYPES if name.startswith(library)] for library in ("numpy", "pandas", "sympy")
}


def _expressions(sympy: Any, rows: list) -> list:
    if not all(isinstance(entry, sympy.Basic) for row in rows for entry in row):
        raise ValueError("a matrix of expressions has no other entries")
    return rows
