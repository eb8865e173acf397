"""The picture of an evaluation names every arm as it is called."""

from __future__ import annotations

from matplotlib.figure import Figure

from esper_leyline import preset
from esper_simic.evaluation import SeedRange, evaluation_seeds
from esper_train.evaluation import plot
from esper_train.evaluation.judge import sum_up
from esper_train.evaluation.results import ArmResult, EpisodeResult, EvaluationResults

NAMES = ("static", "_hidden", r"cost$\frac$", "a\x1b[31m\nb")


def arm(name: str, seeds: tuple[int, ...]) -> ArmResult:
    episodes = [
        EpisodeResult(
            seed=seed,
            epochs=4,
            ended="horizon",
            newborn_accuracy=10.0,
            test_accuracy=60.0,
            test_loss=1.0,
            val_accuracy=None,
            host_parameters=794,
            parameters=794,
            pruned_epoch_parameters=0,
            forward_flops=100,
            train_flops=1000,
            validation_flops=1000,
            total_flops=2000,
            seconds=1.0,
            decision_seconds=0.1,
            germinated=1,
            fossilized=1,
            pruned=0,
        )
        for seed in seeds
    ]
    return sum_up(name, name, episodes, 1.0)


def test_the_legend_names_every_arm(monkeypatch) -> None:
    seeds = evaluation_seeds(4, use=SeedRange.TUNING)
    results = EvaluationResults(
        task="cost$\\frac$",
        config=preset("mnist1d"),
        seeds=seeds,
        seed_range=SeedRange.TUNING,
        shared_data=True,
        policy="sampled",
        baseline=NAMES[0],
        confidence=0.95,
        arms=tuple(arm(name, seeds) for name in NAMES),
        comparisons=(),
        versions={},
    )
    drawn: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *arguments, **options) -> None:
        drawn.append(figure)
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    picture = plot.draw(results)
    legend = drawn[0].axes[-1].get_legend()
    found = [text.get_text() for text in legend.get_texts()]
    assert found == ["static", "_hidden", r"cost$\frac$", r"a\x1b[31m\nb"]
    assert picture.startswith(b"\x89PNG")
