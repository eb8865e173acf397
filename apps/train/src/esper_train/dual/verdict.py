"""The result of a comparison of two policies, in words."""

from __future__ import annotations

from collections.abc import Sequence

from esper_karn import format_number
from esper_simic.evaluation import Comparison, EvaluationResults, Verdict


def verdict_lines(results: EvaluationResults) -> Sequence[str]:
    """Returns the verdict, the difference, and what was judged."""
    (found,) = results.comparisons
    difference = found.difference
    bounds = f"{_points(difference.low)} to {_points(difference.high)}"
    covered = f"{format_number(results.confidence * 100, 0)} %: {bounds}"
    by = f"{_points(difference.value)} points of test accuracy ({covered})"
    wins = f"it wins on {format_number(found.win_rate.value * 100, 0)} % of {found.pairs} hosts"
    seed = results.config.seed
    return (
        f"verdict: {_verdict(found)}",
        f"{found.arm} minus {found.baseline}: {by}; {wins}",
        f"two policies from seed {seed} were judged; to judge the modes, repeat with other --seed",
    )


def _points(value: float) -> str:
    return format_number(value, 1, sign=True)


def _verdict(found: Comparison) -> str:
    first, second = found.arm, found.baseline
    if found.verdict is Verdict.BETTER:
        return f"{first} is better than {second}"
    if found.verdict is Verdict.WORSE:
        return f"{second} is better than {first}"
    if found.verdict is Verdict.TIED:
        return f"tied: all hosts have equal results under {first} and {second}"
    if found.pairs < found.least_pairs:
        return f"undecided: {found.pairs} hosts are too few; a verdict needs {found.least_pairs}"
    return f"undecided: the interval of {first} minus {second} holds zero"
