"""What became of the seeds of each blueprint."""

from __future__ import annotations

from dataclasses import dataclass

from esper_karn.analytics.database import RunsDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class BlueprintScore:
    """All seeds of one blueprint in the runs of one task.

    Attributes:
        task: ``None`` where the log does not say.
        germinated: Number of seeds.
        unfinished: Seeds that were neither fossilized nor pruned when their episode ended.
        contribution: What a seed contributed when it was fossilized or pruned, or when its
            episode ended: mean in points of accuracy over the seeds of which it was measured.
        measured: How many those are.
        parameters: Mean of a seed.
        contribution_per_1000: Points for 1,000 parameters: the sum of all contributions over
            the sum of these seeds' parameters.
    """

    task: str | None
    blueprint: str
    germinated: int
    fossilized: int
    pruned: int
    unfinished: int
    contribution: float | None
    measured: int
    parameters: float | None
    contribution_per_1000: float | None


_SCORES = """
WITH measured AS (
    SELECT *, contribution IS NOT NULL AND isfinite(contribution) AS known FROM seeds
)
SELECT r.task, s.blueprint, count(*) AS germinated,
    count(*) FILTER (s.fate = 'fossilized') AS fossilized,
    count(*) FILTER (s.fate = 'pruned') AS pruned,
    count(*) FILTER (s.fate = 'unfinished') AS unfinished,
    avg(s.contribution) FILTER (s.known) AS contribution,
    count(*) FILTER (s.known) AS measured, avg(s.parameters) AS parameters,
    1000 * sum(s.contribution) FILTER (s.known)
        / nullif(sum(s.parameters) FILTER (s.known), 0) AS contribution_per_1000
FROM measured s JOIN runs r USING (run) WHERE s.blueprint IS NOT NULL
GROUP BY r.task, s.blueprint
ORDER BY r.task, contribution_per_1000 DESC NULLS LAST, s.blueprint
"""


def score_blueprints(database: RunsDatabase) -> tuple[BlueprintScore, ...]:
    """Returns a row for each task and blueprint, of a task the most useful blueprint first."""
    return tuple(BlueprintScore(**row) for row in database.records(_SCORES))
