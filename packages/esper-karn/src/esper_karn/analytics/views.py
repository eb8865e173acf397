"""The views that queries see, made of the tables of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from esper_karn.analytics.tables import TABLES
from esper_leyline import Op
from esper_leyline.actions import ALPHA_SPEED_TICKS, ALPHA_TARGETS, RELEVANT_HEADS, TEMPO_EPOCHS


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A view.

    Attributes:
        about: What one row is, and the units of its columns.
        query: SQL over the tables in the schema ``cache`` and over other views.
    """

    about: str
    query: str


def _plain(table: str, *places: str) -> str:
    """Returns the query of a view that shows a table as it is.

    Args:
        table: Its name.
        places: Which of round, environment and epoch its events have.
    """
    columns = ", ".join(("run", *places, *TABLES[table].columns, "sequence", "time"))
    return f"SELECT {columns} FROM cache.{table}"


def _relevant(head: str, expression: str) -> str:
    """Returns SQL for a part of an action that only some ops read."""
    ops = ", ".join(f"'{op.name}'" for op in Op if head in RELEVANT_HEADS[op])
    return f"CASE WHEN op IN ({ops}) THEN {expression} END AS {head}"


def _choice(values: tuple[float, ...], sql_type: str, index: str) -> str:
    return f"CAST([{', '.join(map(str, values))}] AS {sql_type}[])[{index} + 1]"


_STEP = ("round", "environment", "epoch")

_OP_INDEX = "CASE op " + " ".join(f"WHEN '{op.name}' THEN {op.value + 1}" for op in Op) + " END"

_DECISIONS = f"""
SELECT run, round, environment, epoch, op, slot,
    {_relevant("blueprint", "blueprint")},
    {_relevant("style", "style")},
    {_relevant("tempo", _choice(TEMPO_EPOCHS, "BIGINT", "tempo_index"))},
    {_relevant("alpha_target", _choice(ALPHA_TARGETS, "DOUBLE", "alpha_target_index"))},
    {_relevant("alpha_speed", _choice(ALPHA_SPEED_TICKS, "BIGINT", "alpha_speed_index"))},
    {_relevant("alpha_curve", "alpha_curve")},
    succeeded, forced, reason, rejection, value, q_values[{_OP_INDEX}] AS q,
    op_probabilities[{_OP_INDEX}] AS probability,
    list_sum(map_values(reward_components)) AS reward, sequence, time
FROM cache.decisions
"""

_RUNS = """
WITH started AS (
    SELECT key, min(time) AS started, arg_max(payload, sequence) AS payload
    FROM cache.all_events WHERE kind = 'run_started' GROUP BY key
), built AS (
    SELECT key, arg_max(payload, sequence) AS payload
    FROM cache.all_events WHERE kind = 'environment_built' GROUP BY key
), state AS (
    SELECT key, arg_max(kind, sequence) AS kind, arg_max(payload, sequence) AS payload
    FROM cache.all_events
    WHERE kind IN ('run_started', 'run_resumed', 'run_completed', 'run_failed') GROUP BY key
), read AS (
    SELECT key, count(*) AS events, max(time) AS last_event, max(boot) + 1 AS processes,
        any_value(run_group) AS run_group
    FROM cache.all_events GROUP BY key
), round AS (
    SELECT run, max(round) AS rounds, max(best_accuracy) AS best_accuracy,
        max(mean_accuracy) AS best_mean_accuracy,
        arg_max(mean_accuracy, round) AS last_mean_accuracy,
        max(mean_return) AS best_mean_return, arg_max(mean_return, round) AS last_mean_return
    FROM rounds GROUP BY run
)
SELECT r.run, started.payload->>'$.config.task' AS task,
    started.payload->>'$.command' AS command,
    coalesce(
        open_ends.status,
        CASE state.kind WHEN 'run_failed' THEN 'failed' ELSE state.payload->>'$.status' END
    ) AS status,
    coalesce(round.rounds, 0) AS rounds,
    CAST(started.payload->>'$.config.n_episodes' AS BIGINT) AS planned_rounds,
    round.best_accuracy, round.best_mean_accuracy, round.last_mean_accuracy,
    round.best_mean_return, round.last_mean_return,
    started.started, read.last_event,
    CAST(state.payload->>'$.seconds' AS DOUBLE) AS seconds,
    CAST(started.payload->>'$.config.n_envs' AS BIGINT) AS environments,
    CAST(started.payload->>'$.config.max_epochs' AS BIGINT) AS episode_length,
    CAST(started.payload->>'$.config.seed' AS BIGINT) AS rng_seed,
    CAST(built.payload->>'$.host_parameters' AS BIGINT) AS host_parameters,
    CAST(built.payload->>'$.policy_parameters' AS BIGINT) AS policy_parameters,
    read.events, read.processes, r.unread_lines, r.problem,
    state.payload->>'$.error' AS error, read.run_group, r.path,
    started.payload->'$.config' AS config, started.payload->'$.versions' AS versions
FROM cache.runs r LEFT JOIN cache.open_ends USING (key)
LEFT JOIN started USING (key) LEFT JOIN built USING (key) LEFT JOIN state USING (key)
LEFT JOIN read USING (key) LEFT JOIN round USING (run)
"""

_SEEDS = """
WITH numbered AS (
    SELECT *, sum(CAST(kind = 'seed_germinated' AS INTEGER)) OVER (
        PARTITION BY run, round, environment, slot ORDER BY sequence
    ) AS number FROM cache.seed_events
), lived AS (
    SELECT run, round, environment, slot, number,
        arg_max(blueprint, sequence) FILTER (blueprint IS NOT NULL) AS blueprint,
        max(parameters) AS parameters,
        min(epoch) FILTER (kind = 'seed_germinated') AS germinated,
        max(epoch) FILTER (kind IN ('seed_fossilized', 'seed_pruned')) AS ended,
        CASE WHEN bool_or(kind = 'seed_fossilized') THEN 'fossilized'
            WHEN bool_or(kind = 'seed_pruned') THEN 'pruned' ELSE 'unfinished' END AS fate,
        max(age) FILTER (kind IN ('seed_fossilized', 'seed_pruned')) AS age,
        arg_max(contribution, sequence) FILTER (kind IN ('seed_fossilized', 'seed_pruned'))
            AS contribution,
        min(time) AS time
    FROM numbered WHERE number > 0 GROUP BY ALL
), measured AS (
    SELECT l.run, l.round, l.environment, l.slot, l.number, max(e.epoch) AS last_epoch,
        arg_max(e.contribution, e.epoch) FILTER (e.contribution IS NOT NULL) AS contribution,
        arg_max(e.age, e.epoch) AS age
    FROM lived l JOIN cache.seed_epochs e ON l.run = e.run AND l.round = e.round
        AND l.environment = e.environment AND l.slot = e.slot AND e.epoch >= l.germinated
    WHERE l.fate = 'unfinished' GROUP BY ALL
)
SELECT l.run, l.round, l.environment, l.slot, l.number, l.blueprint, l.parameters,
    l.fate, l.germinated, l.ended, coalesce(l.age, m.age) AS age,
    coalesce(l.contribution, m.contribution) AS contribution, l.time
FROM lived l LEFT JOIN measured m USING (run, round, environment, slot, number)
"""

VIEWS: Mapping[str, View] = {
    "rounds": View(
        about="one finished round; accuracies in percent, means over its hosts",
        query=_plain("rounds", "round"),
    ),
    "runs": View(
        about="one run; accuracies in percent, its configuration as JSON; `status` as in "
        "esper-overwatch list, `problem` says why a log cannot be read",
        query=_RUNS,
    ),
    "epochs": View(
        about="one epoch of one host; losses in nats, accuracies in percent",
        query=_plain("epochs", *_STEP),
    ),
    "updates": View(
        about="one PPO update; heads by name in maps, as in head_entropy['op']",
        query=_plain("updates", "round"),
    ),
    "q_values": View(
        about="Q(s, op) of one op over one round, in reward units",
        query=_plain("q_values", "round"),
    ),
    "decisions": View(
        about="one decision; `q` and `probability` are those of its op, `reward` what it earned; "
        "parts of an action that its op does not read are NULL",
        query=_DECISIONS,
    ),
    "rewards": View(
        about="one component of the reward of one decision", query=_plain("rewards", *_STEP)
    ),
    "seeds": View(
        about="one seed from its germination; `fate` is fossilized, pruned or unfinished, "
        "`contribution` the last one in points, `germinated` and `ended` are epochs",
        query=_SEEDS,
    ),
    "seed_epochs": View(
        about="one seed in one epoch; contributions in points of accuracy",
        query=_plain("seed_epochs", *_STEP),
    ),
    "seed_events": View(
        about="one lifecycle event of one seed", query=_plain("seed_events", *_STEP)
    ),
    "counterfactuals": View(
        about="accuracy of one host in percent with only the seeds in `active` switched on",
        query=_plain("counterfactuals", *_STEP),
    ),
    "shapley": View(
        about="Shapley value of one seed in points of accuracy", query=_plain("shapley", *_STEP)
    ),
    "anomalies": View(
        about="one anomaly; `details` is its whole payload as JSON",
        query="SELECT run, round, environment, epoch, kind, subject, slot, value, threshold, "
        "details, sequence, time FROM cache.anomalies",
    ),
    "outcomes": View(
        about="one finished episode; accuracies in percent",
        query=_plain("outcomes", *_STEP),
    ),
    "tests": View(
        about="one host on the test split, after training; accuracy in percent, loss in nats",
        query=_plain("tests", "round", "environment"),
    ),
    "profiles": View(
        about="one host as a telemetry profile measured it: accuracy by class in percent, rises of "
        "the loss in nats, `sharpness` is their mean; the measurement took `seconds`",
        query=_plain("profiles", *_STEP),
    ),
    "layers": View(
        about="one layer of one host as a telemetry profile measured it: L2 norms, percentiles of "
        "the gradient's absolute values, shares of its values from 0 to 1",
        query=_plain("layers", *_STEP),
    ),
    "vitals": View(
        about="the machine at one moment; memory and disk in MB, use of all cores in percent",
        query=_plain("vitals"),
    ),
    "events": View(
        about="one event of any kind; `payload` is JSON, NULL where another view has it all",
        query="SELECT run, round, environment, epoch, kind, coalesced, boot, sequence, time, "
        "payload FROM cache.events",
    ),
}
"""Every view by name, after those that it uses."""
