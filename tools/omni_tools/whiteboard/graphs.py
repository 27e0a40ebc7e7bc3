"""Graphs of functions: sampled exactly where they are defined, in a window that shows what matters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from omni.errors import BadInput
from omni_tools.expressions import read_expression
from omni_tools.whiteboard import operations as ops

if TYPE_CHECKING:
    from sympy import Expr

SAMPLES = 400


def graph_of(
    functions: list[str], *, y: float, id: str, x_from: float | None = None, x_to: float | None = None
) -> ops.Graph:
    """A graph of one to four functions of x ("x^2 - 2", "y = sin(x)"), its top at `y` on the board.

    Without a range, the window is chosen around zeros and turning points. Raises `BadInput`.
    """
    if not 1 <= len(functions) <= 4:
        raise BadInput("A graph shows one to four functions.", "Name fewer of them.")
    expressions = [_read(text) for text in functions]
    low, high = _window(expressions) if x_from is None or x_to is None else (x_from, x_to)
    if not low < high:
        raise BadInput(f"The range from {low:g} to {high:g} is empty.", "Give the smaller number first.")
    xs = np.linspace(low, high, SAMPLES)
    curves = [_sample(expression, xs) for expression in expressions]
    return ops.Graph(
        id=id, x=80, y=y, width=640, height=440, x_range=(low, high), y_range=_vertical(curves),
        curves=[[(float(a), None if np.isnan(b) else float(b)) for a, b in zip(xs, c, strict=True)] for c in curves],
        labels=[f"y = {text.split('=')[-1].strip()}" for text in functions],
        points=_zeros(expressions[0], low, high) if len(expressions) == 1 else [],
    )  # fmt: skip


def _read(text: str) -> Expr:
    import sympy

    expression = read_expression(text.split("=")[-1])
    if expression.free_symbols - {sympy.Symbol("x")}:
        raise BadInput(f"{text!r} has another unknown than x.", "Give me a function of x.")
    return expression


def _sample(expression: Expr, xs: np.ndarray) -> np.ndarray:
    import sympy

    function = sympy.lambdify(sympy.Symbol("x"), expression, "numpy")
    with np.errstate(all="ignore"):
        values = np.asarray(function(xs.astype(complex))) * np.ones(len(xs), complex)
    real = np.where(np.abs(values.imag) < 1e-9, values.real, np.nan)
    return np.where(np.isfinite(real), real, np.nan)


def _window(expressions: list[Expr]) -> tuple[float, float]:
    """Around the real zeros and turning points of polynomials; -10..10 where nothing is known."""
    import sympy

    x, marks = sympy.Symbol("x"), [0.0]
    for expression in expressions:
        for wanted in (expression, sympy.diff(expression, x)):
            if wanted.is_polynomial(x) and 0 < sympy.degree(wanted, x) <= 6:
                marks += [float(root) for root in sympy.Poly(wanted, x).nroots() if root.is_real]
    if len(marks) == 1:
        return -10.0, 10.0
    margin = max(2.0, 0.4 * (max(marks) - min(marks)))
    return min(marks) - margin, max(marks) + margin


def _vertical(curves: list[np.ndarray]) -> tuple[float, float]:
    """Most of all values, without the spikes at poles, and the x axis."""
    values = np.concatenate(curves)
    values = values[~np.isnan(values)]
    if not len(values):
        raise BadInput("That function has no real values in this range.", "Choose another range.")
    low, high = (float(np.percentile(values, q)) for q in (3, 97))
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _zeros(expression: Expr, low: float, high: float) -> list[tuple[float, float, str]]:
    import sympy

    x = sympy.Symbol("x")
    if not (expression.is_polynomial(x) and 0 < sympy.degree(expression, x) <= 6):
        return []
    roots = sorted({round(float(r), 6) for r in sympy.Poly(expression, x).nroots() if r.is_real})
    return [(root, 0.0, f"{root:.4g}") for root in roots if low <= root <= high]
