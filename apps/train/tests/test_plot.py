"""The picture of an evaluation names every arm as it is called."""

from __future__ import annotations

from matplotlib.figure import Figure

from esper_simic.evaluation import evaluation_seeds, summarize_arm
from esper_train.evaluation import plot

NAMES = ("static", "_hidden", r"cost$\frac$", "a\x1b[31m\nb")


def test_the_legend_names_every_arm(monkeypatch, episode_result, evaluation_results) -> None:
    episodes = [episode_result(seed) for seed in evaluation_seeds(4)]
    arms = [summarize_arm(name, name, episodes, 1.0) for name in NAMES]
    results = evaluation_results(arms, task="cost$\\frac$")
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
