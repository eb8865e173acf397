"""Renders an evaluation with Rich: what was reached, and what it cost."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from esper_leyline import EpisodeEnd
from esper_simic.evaluation import SeedRange, Verdict, evaluation_seeds
from esper_train.evaluation.results import ArmResult, Budget, EvaluationResults, Interval

_VERDICT_STYLES = {
    Verdict.BETTER: "green",
    Verdict.WORSE: "red",
    Verdict.TIED: "cyan",
    Verdict.UNDECIDED: "yellow",
}
_HOSTS = {
    SeedRange.TUNING: "hosts {}–{} of the tuning range; for figures to publish: --range reporting",
    SeedRange.REPORTING: "hosts {}–{} of the reporting range; choose no settings by them",
}
_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


class EvaluationTable:
    """An evaluation as something that Rich prints.

    Args:
        results: What was found.
        seeds_flag: The flag of the command that says how many hosts an arm grows.
    """

    def __init__(self, results: EvaluationResults, *, seeds_flag: str = "--seeds") -> None:
        self._results = results
        self._seeds_flag = seeds_flag

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._accuracies()
        if self._results.comparisons:
            yield self._differences()
        yield self._costs()
        for line in self._legend():
            yield Text(line, "dim")

    def _accuracies(self) -> Table:
        table = _table("arm", "test %", "95 %", "IQM")
        for arm in self._results.arms:
            mean, iqm = arm.accuracy, arm.accuracy_iqm
            table.add_row(arm.label, f"{mean.value:.1f}", _range(mean), f"{iqm.value:.1f}")
        return table

    def _differences(self) -> Table:
        table = _table("arm", "diff", "95 %", "IQM of diff", "wins %", "95 %", "verdict")
        for compared in self._results.comparisons:
            table.add_row(
                compared.arm,
                f"{compared.difference.value:+.1f}",
                _signed_range(compared.difference),
                f"{compared.iqm_difference.value:+.1f}",
                f"{100 * compared.win_rate.value:.0f}",
                f"{100 * compared.win_rate.low:.0f}–{100 * compared.win_rate.high:.0f}",
                Text(compared.verdict.value, _VERDICT_STYLES[compared.verdict]),
            )
        return table

    def _costs(self) -> Table:
        table = _table(
            "arm",
            "parameters",
            "FLOPs\na row",
            "train\nFLOPs",
            "val\nFLOPs",
            "total\nFLOPs",
            "seconds",
            "seeds",
        )
        for arm in self._results.arms:
            costs = arm.costs
            table.add_row(
                arm.label,
                f"{costs.parameters:,.0f}",
                with_prefix(costs.forward_flops),
                with_prefix(costs.train_flops),
                with_prefix(costs.validation_flops),
                with_prefix(costs.total_flops),
                f"{costs.seconds:.2f}",
                _seeds(arm),
            )
        return table

    def _legend(self) -> Sequence[str]:
        results = self._results
        pairs = len(results.seeds)
        played = f"{results.task}, {results.config.max_epochs} epochs, {pairs} unseen hosts an arm"
        first = results.seeds[0] - evaluation_seeds(1, use=results.seed_range)[0]
        lines = [
            f"{played}; test: mean; IQM: interquartile mean",
            _HOSTS[results.seed_range].format(first, first + pairs - 1),
            "costs: means over all hosts; pruned seeds count; val: validation with counterfactuals",
            "seeds: germinated/fossilized/pruned a host",
        ]
        if results.shared_data:
            lines.insert(2, "data: all hosts share one data set; unseen are their initial weights")
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
            f"{arm.label}: learnt on {arm.trained_on}, never met {results.task}"
            for arm in results.arms
            if arm.trained_on not in (None, results.task)
        ]
        lines += [_broken(arm) for arm in results.arms if _governed(arm)]
        least = {each.least_pairs for each in results.comparisons if pairs < each.least_pairs}
        if least:
            lines.append(
                f"no verdict from {pairs} seeds; it takes {max(least)} ({self._seeds_flag})"
            )
        return lines


def origin(model: str, budget: Budget | None, epochs: Collection[int]) -> str:
    """Says where the hosts of an arm from scratch come from, and how long they train."""
    born = f"born with the seeds that {model} ended with"
    if budget != "flops":
        return born
    least, most = min(epochs), max(epochs)
    count = f"{least}" if least == most else f"{least} to {most}"
    return f"{born}, trained for as many FLOPs: {count} epochs"


def with_prefix(value: float) -> str:
    """Writes a large number with three digits and a prefix, such as ``1.23 G``."""
    for prefix in _PREFIXES[:-1]:
        # What would be rounded up to 1000 takes the next prefix.
        if value < 999.5:
            digits = 0 if not prefix or value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:.{digits}f} {prefix}".rstrip()
        value /= 1000
    return f"{value:.2f} {_PREFIXES[-1]}"


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, head in enumerate(heads):
        table.add_column(
            head, justify="left" if number == 0 else "right", overflow="fold", no_wrap=number > 0
        )
    return table


def _range(interval: Interval) -> str:
    return f"{interval.low:.1f}–{interval.high:.1f}"


def _signed_range(interval: Interval) -> str:
    return f"{interval.low:+.1f} to {interval.high:+.1f}"


def _epochs(arm: ArmResult) -> list[int]:
    return [episode.epochs for episode in arm.episodes]


def _governed(arm: ArmResult) -> int:
    return sum(episode.ended is EpisodeEnd.GOVERNOR for episode in arm.episodes)


def _broken(arm: ArmResult) -> str:
    return f"{arm.label}: {_governed(arm)} of {len(arm.episodes)} hosts broke (governor)"


def _seeds(arm: ArmResult) -> str:
    count = len(arm.episodes)
    totals = (
        sum(episode.germinated for episode in arm.episodes),
        sum(episode.fossilized for episode in arm.episodes),
        sum(episode.pruned for episode in arm.episodes),
    )
    return "/".join(f"{total / count:.1f}" for total in totals)
