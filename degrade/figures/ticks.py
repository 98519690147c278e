"""Round values for axes, and how they are written. All renderers take them from here, so that they agree."""

from collections.abc import Sequence
from math import ceil, floor, log10

import numpy as np
import pandas as pd

_FINE = 8  # ticks at 1, 2 and 5 times powers of ten, at most; a longer axis has powers alone
_STEPS = (1.0, 2.0, 5.0)  # times a power of ten: between two ticks of a linear axis
_TOPS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 8.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0)  # %


def choose(low: float, high: float, scale: str = "linear", most: int = 7) -> tuple[float, ...]:
    """At most about `most` ticks from low to high."""
    return choose_log(low, high, most) if scale == "log" else choose_linear(low, high, most)


def choose_linear(low: float, high: float, most: int = 7) -> tuple[float, ...]:
    """Multiples of 1, 2 or 5 times a power of ten, at most `most`. So layers and iterations stay whole."""
    if not high > low:
        return (low,)
    power = 10.0 ** floor(log10((high - low) / most))
    slack = 1e-9 * (high - low)
    for step in (part * power for part in (*_STEPS, *(10 * part for part in _STEPS))):
        first, last = ceil((low - slack) / step), floor((high + slack) / step)
        if last - first + 1 <= most:
            return tuple(float(f"{number * step:.12g}") for number in range(first, last + 1))
    raise AssertionError(f"no step for {low} to {high}")  # ten times the power gives less than `most`


def choose_log(low: float, high: float, most: int = 7) -> tuple[float, ...]:
    """Ticks at 1, 2 and 5 times powers of ten if the axis is short, else at about `most` powers of ten at most."""
    fine = tuple(step for step in round_values(low, high) if low <= step <= high)
    if len(fine) <= min(_FINE, most + 1):
        return fine
    powers = [step for step in fine if f"{step:e}".startswith("1.0")]
    return tuple(powers[:: 1 + len(powers) // (most + 1)])


def thin(values: Sequence[float], limits: tuple[float, float], scale: str, apart: float) -> tuple[float, ...]:
    """The ticks whose labels have room: each is at least `apart`, a part of the axis, above the one before."""
    low, high = np.log(limits) if scale == "log" else limits
    kept: list[float] = []
    for value in values:
        if not kept or (_place(value, scale) - _place(kept[-1], scale)) / (high - low) >= apart:
            kept.append(value)
    return tuple(kept)


def _place(value: float, scale: str) -> float:
    return float(np.log(value)) if scale == "log" else value


def round_values(low: float, high: float) -> list[float]:
    """1, 2, 5 times every power of ten from below `low` to above `high`."""
    powers = range(floor(log10(low)), floor(log10(high)) + 2)
    return [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]


def limits(values: "pd.Series[float]") -> tuple[float, float]:
    """The least finite value rounded down, and the greatest rounded up, to 1, 2 or 5 times a power of ten."""
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if len(finite) else (1.0, 1.0)
    around = round_values(least / 10, most * 10)
    low = max(step for step in around if step <= least)
    return low, min(step for step in around if step >= most and step > low)


def top_over(greatest: float) -> float:
    """The least end of an error axis (%) that leaves a twentieth free above the greatest value."""
    return next((top for top in _TOPS if 1.05 * greatest <= top), 100.0)


def write(values: Sequence[float], scale: str = "linear") -> list[str]:
    """The labels of ticks. If a logarithmic axis goes below 0.01 or to 1e5, all of them are written as 1e-4."""
    if scale == "log" and values and (min(values) < 0.01 or max(values) >= 1e5):
        return [_scientific(value) for value in values]
    return [f"{value:,.10g}".replace("-", "−") for value in values]


def _scientific(value: float) -> str:
    """1e-4, 2e-12, 1: without the zeros that Python pads an exponent with."""
    digits, _, power = f"{value:.6e}".partition("e")
    digits = digits.rstrip("0").rstrip(".")
    return digits if int(power) == 0 else f"{digits}e{int(power)}"
