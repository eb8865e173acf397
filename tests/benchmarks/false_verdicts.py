"""How often intervals of the mean of paired differences give a false verdict. Run by hand:

    uv run python tests/benchmarks/false_verdicts.py

Both arms are equally good on average, so every 95 % interval that leaves zero out is a false
verdict; 5 % of them should. Power is how often an interval sees a true difference.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from esper_simic.evaluation import Resampling, estimate_iqm, estimate_mean

sys.path.insert(0, str(Path(__file__).parents[2] / "packages" / "esper-simic" / "tests"))
from null_differences import NULLS, Draw

SHAPES: Mapping[str, Draw] = {
    **NULLS,
    "skewed (lognormal)": lambda generator, shape: generator.lognormal(size=shape) - math.exp(0.5),
}
PAIRS = (6, 8, 12, 20, 40)
SAMPLES, RESAMPLES = 2_000, 400
Interval = Callable[[NDArray[np.float64]], tuple[float, float]]


def scipys(method: str) -> Interval:
    def interval(sample: NDArray[np.float64]) -> tuple[float, float]:
        found = stats.bootstrap(
            (sample,), np.mean, n_resamples=RESAMPLES, method=method, rng=np.random.default_rng(0)
        ).confidence_interval
        return found.low, found.high

    return interval


def iqm(sample: NDArray[np.float64]) -> tuple[float, float]:
    found = estimate_iqm(sample, Resampling(resamples=RESAMPLES))
    return found.low, found.high


def studentised(sample: NDArray[np.float64]) -> tuple[float, float]:
    """The bootstrap-t: quantiles of (mean* - mean) / error* of the resamples."""
    generator, pairs = np.random.default_rng(0), len(sample)
    drawn = sample[generator.integers(pairs, size=(RESAMPLES, pairs))]
    errors = drawn.std(axis=1, ddof=1) / np.sqrt(pairs)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.nan_to_num((drawn.mean(axis=1) - sample.mean()) / errors, nan=0.0)
    low, high = np.quantile(ratios, (0.025, 0.975), method="nearest")
    error = sample.std(ddof=1) / np.sqrt(pairs)
    return sample.mean() - high * error, sample.mean() - low * error


def student(sample: NDArray[np.float64]) -> tuple[float, float]:
    half = stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample)
    return sample.mean() - half, sample.mean() + half


def chosen(sample: NDArray[np.float64]) -> tuple[float, float]:
    found = estimate_mean(sample)
    return found.low, found.high


CANDIDATES: dict[str, Interval] = {
    "IQM, before": iqm,
    "percentile": scipys("percentile"),
    "BCa": scipys("BCa"),
    "bootstrap-t": studentised,
    "Student": student,
    "chosen": chosen,
}


def verdicts(draw: Draw, pairs: int, shift: float = 0.0) -> list[float]:
    """Returns the share of samples of each candidate whose interval leaves zero out, in %."""
    samples = draw(np.random.default_rng(pairs), (SAMPLES, pairs)) + shift
    shares = []
    for interval in CANDIDATES.values():
        found = [interval(sample) for sample in samples]
        shares.append(100 * float(np.mean([low > 0 or high < 0 for low, high in found])))
    return shares


def row(pairs: int, name: str, shares: list[float]) -> str:
    return f"{pairs:5}  {name:24}" + "".join(f"{share:13.1f}" for share in shares)


def main() -> None:
    print(f"{SAMPLES} samples each, {RESAMPLES} resamples; standard error at 5 %: 0.5\n")
    print("pairs  shape, true mean 0      " + "".join(f"{name:>13}" for name in CANDIDATES))
    for pairs in PAIRS:
        for name, draw in SHAPES.items():
            print(row(pairs, name, verdicts(draw, pairs)), flush=True)
    print("\nPower: the same with a true difference\n")
    for pairs in PAIRS:
        shares = verdicts(NULLS["normal"], pairs, 1.0)
        print(row(pairs, "normal, mean 1 sd", shares), flush=True)
        quarter = NULLS["+15 on a quarter, sd 1"]
        print(row(pairs, "+15 on a quarter, else 0", verdicts(quarter, pairs, 3.75)), flush=True)


if __name__ == "__main__":
    main()
