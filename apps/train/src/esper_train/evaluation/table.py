"""The tables of an evaluation: accuracies, differences and costs."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from esper_karn import Column, FittedTable, TableVariant, format_count, format_number
from esper_leyline import EpisodeEnd, printable
from esper_simic.evaluation import (
    ArmResult,
    Budget,
    Estimate,
    EvaluationResults,
    SeedRange,
    TrainingBill,
    Verdict,
    evaluation_seeds,
)

_VERDICT_STYLES = {
    Verdict.BETTER: "green",
    Verdict.WORSE: "red",
    Verdict.TIED: "cyan",
    Verdict.UNDECIDED: "yellow",
}
_HOSTS = {
    SeedRange.TUNING: "hosts {}–{} of the tuning range; for figures to publish: --range reporting",
    SeedRange.REPORTING: "hosts {}–{} of the reporting range; do not tune settings on them",
}
_AUGMENTED = "images: augmented at random in training, unchanged in evaluation"
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
_BEYOND_PREFIXES = 1e24


class EvaluationTable:
    """An evaluation as a Rich renderable.

    Args:
        results: The results to show.
        seeds_flag: The flag that sets the number of hosts, named in advice.
    """

    def __init__(self, results: EvaluationResults, *, seeds_flag: str = "--seeds") -> None:
        self._results = results
        self._seeds_flag = seeds_flag

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text()
        yield self._accuracies()
        yield Text()
        if self._results.comparisons:
            yield self._differences()
            yield Text()
        yield self._costs()
        yield Text()
        for line in self._legend():
            yield Text(printable(line), "dim")

    def _accuracies(self) -> FittedTable:
        arms = self._results.arms
        columns = [
            _arms([arm.label for arm in arms]),
            Column(head="test %", cells=[format_number(arm.accuracy.value, 1) for arm in arms]),
            Column(head="95 %", cells=[_range(arm.accuracy) for arm in arms], rank=1),
            Column(
                head="IQM", cells=[format_number(arm.accuracy_iqm.value, 1) for arm in arms], rank=2
            ),
        ]
        return FittedTable(TableVariant(columns=columns))

    def _differences(self) -> FittedTable:
        found = self._results.comparisons
        iqm = [_points(each.iqm_difference.value) for each in found]
        verdicts = [each.verdict for each in found]
        columns = [
            _arms([each.arm for each in found]),
            Column(head="diff", cells=[_points(each.difference.value) for each in found]),
            Column(
                head="95 %",
                cells=[_signed_range(each.difference) for each in found],
                rank=1,
                name="95 % of diff",
            ),
            Column(head="IQM of diff", cells=iqm, rank=3),
            Column(head="wins %", cells=[_percent(each.win_rate.value) for each in found], rank=2),
            Column(
                head="95 %",
                cells=[_percent_range(each.win_rate) for each in found],
                rank=4,
                name="95 % of wins",
            ),
            Column(
                head="verdict",
                cells=[each.value for each in verdicts],
                styles=[_VERDICT_STYLES[each] for each in verdicts],
            ),
        ]
        return FittedTable(TableVariant(columns=columns))

    def _costs(self) -> FittedTable:
        wide = ("parameters", "FLOPs a row", "train FLOPs", "val FLOPs", "total FLOPs", "seconds")
        narrow = ("params", "row", "train", "val", "total", "sec")
        note = "row, train, val, total: FLOPs; row: of one row"
        return FittedTable(
            TableVariant(columns=self._cost_columns(wide)),
            TableVariant(columns=self._cost_columns(narrow), notes=[note]),
        )

    def _cost_columns(self, heads: Sequence[str]) -> list[Column]:
        arms = self._results.arms
        costs = [arm.costs for arm in arms]
        parameters, row, train, validation, total, seconds = heads
        totals = [_flops(each.total_flops) for each in costs]
        return [
            _arms([arm.label for arm in arms]),
            Column(
                head=parameters, cells=[format_count(each.parameters) for each in costs], rank=1
            ),
            Column(head=row, cells=[_flops(each.forward_flops) for each in costs], rank=3),
            Column(head=train, cells=[_flops(each.train_flops) for each in costs], rank=4),
            Column(
                head=validation,
                cells=[_flops(each.validation_flops) for each in costs],
                rank=5,
            ),
            Column(head=total, cells=totals),
            Column(head=seconds, cells=[format_number(each.seconds, 2) for each in costs], rank=2),
            Column(head="seeds", cells=[_seeds(arm) for arm in arms], rank=6),
        ]

    def _legend(self) -> Sequence[str]:
        results = self._results
        pairs = len(results.rng_seeds)
        played = f"{results.task}, {results.config.max_epochs} epochs, {pairs} unseen hosts an arm"
        first = results.rng_seeds[0] - evaluation_seeds(1, use=results.seed_range)[0]
        lines = [
            f"{played}; test: mean; IQM: interquartile mean",
            _HOSTS[results.seed_range].format(first, first + pairs - 1),
            "costs: means over all hosts; pruned seeds count; val: validation with counterfactuals",
            "seeds: germinated/fossilized/pruned a host",
        ]
        if results.shared_data:
            lines.insert(2, "data: all hosts share one data set; unseen are their initial weights")
        if results.augmented:
            lines.insert(3 if results.shared_data else 2, _AUGMENTED)
        if results.comparisons:
            lines.insert(
                1,
                f"diff: mean of differences host by host, from {results.baseline}, in points; "
                "wins: hosts above it",
            )
        lines += [
            f"{arm.label}: {origin(arm.copied, arm.budget, _epochs(arm))}"
            for arm in results.arms
            if arm.copied is not None
        ]
        lines += [
            f"{arm.label}: trained on {arm.trained_on}, never saw {results.task}"
            for arm in results.arms
            if arm.trained_on not in (None, results.task)
        ]
        lines += [f"{arm.label}: {_bill(arm.bill)}" for arm in results.arms if arm.bill is not None]
        lines += [_ended_by_governor(arm) for arm in results.arms if _governed(arm)]
        least = {each.least_pairs for each in results.comparisons if pairs < each.least_pairs}
        if least:
            lines.append(
                f"no verdict from {pairs} seeds; it needs {max(least)} ({self._seeds_flag})"
            )
        return lines


def origin(model: str, budget: Budget | None, epochs: Collection[int]) -> str:
    """Describes the hosts of an arm from scratch, and how long they train."""
    born = f"starts with the seeds that {model} ended with"
    if budget != "flops":
        return born
    least, most = min(epochs), max(epochs)
    number_of = f"{least}" if least == most else f"{least} to {most}"
    return f"{born}, trained for as many FLOPs: {number_of} epochs"


def _flops(value: float | None) -> str:
    return "-" if value is None else with_prefix(value)


def with_prefix(value: float) -> str:
    """Writes a large number with three digits and a prefix, such as ``1.23 G``."""
    if not abs(value) < _BEYOND_PREFIXES:
        return format_number(value, 0)
    for prefix in _PREFIXES[:-1]:
        # What would be rounded up to 1000 takes the next prefix.
        if abs(value) < 999.5:
            size = abs(value)
            digits = 0 if not prefix or size >= 99.95 else 1 if size >= 9.995 else 2
            return f"{format_number(value, digits)} {prefix}".rstrip()
        value /= 1000
    return f"{format_number(value, 2)} {_PREFIXES[-1]}"


def _arms(labels: Sequence[str]) -> Column:
    return Column(head="arm", cells=labels, left=True, fold=True)


def _bill(bill: TrainingBill) -> str:
    """Describes the cost of training a policy."""
    hosts = "1 host" if bill.episodes == 1 else f"{bill.episodes:,} hosts"
    return (
        f"policy trained on {hosts} for {bill.epochs:,} epochs in all, at least "
        f"{with_prefix(bill.least_flops)} FLOPs without seeds and counterfactuals"
    )


def _range(interval: Estimate) -> str:
    return f"{format_number(interval.low, 1)}–{format_number(interval.high, 1)}"


def _points(value: float) -> str:
    return format_number(value, 1, sign=True)


def _signed_range(interval: Estimate) -> str:
    return f"{_points(interval.low)} to {_points(interval.high)}"


def _percent(share: float) -> str:
    return format_number(100 * share, 0)


def _percent_range(interval: Estimate) -> str:
    return f"{_percent(interval.low)}–{_percent(interval.high)}"


def _epochs(arm: ArmResult) -> list[int]:
    return [episode.epochs for episode in arm.episodes]


def _governed(arm: ArmResult) -> int:
    return sum(episode.ended is EpisodeEnd.GOVERNOR for episode in arm.episodes)


def _ended_by_governor(arm: ArmResult) -> str:
    return f"{arm.label}: {_governed(arm)} of {len(arm.episodes)} hosts ended by the governor"


def _seeds(arm: ArmResult) -> str:
    hosts = len(arm.episodes)
    totals = (
        sum(episode.germinated for episode in arm.episodes),
        sum(episode.fossilized for episode in arm.episodes),
        sum(episode.pruned for episode in arm.episodes),
    )
    return "/".join(format_number(total / hosts, 1) for total in totals)
