"""``esper-train heuristic``: grows hosts by fixed rules."""

from __future__ import annotations

from esper_karn import echo
from esper_kasmina import build_host
from esper_leyline import RunStatus, TaskSpec, TrainingConfig
from esper_leyline.events import Phase
from esper_simic import build_reward, run_controllers
from esper_tamiyo import HeuristicConfig, HeuristicController
from esper_tolaria import build_environment
from esper_train.data import make_data_ready
from esper_train.interrupts import StopRequest
from esper_train.measurements import required_measurements, required_profile
from esper_train.paths import check_places
from esper_train.readers import check_readers
from esper_train.session import RunSession
from esper_train.settings.flags import SettingFlags
from esper_train.settings.options import SetOptions, TelemetryOptions
from esper_train.settings.resolve import Plan, plan_heuristic


def run_heuristic(*, flags: SettingFlags, options: SetOptions, telemetry: TelemetryOptions) -> int:
    """Grows hosts by the heuristic and returns the process's exit code."""
    check_places(telemetry)
    plan = plan_heuristic(flags, options)
    check_readers(telemetry, plan.config)
    for note in plan.notes:
        echo(note)
    make_data_ready(plan)
    with StopRequest() as stop, RunSession("heuristic", plan, telemetry, stop) as session:
        _grow(plan, session, stop)
    return session.exit_code


def heuristic_rules(task: TaskSpec, config: TrainingConfig) -> HeuristicConfig:
    """Returns the rules of a run, by the config or else by the task."""
    points = config.heuristic.min_fossilize_improvement
    return HeuristicConfig(
        fossilize_points=task.min_fossilize_improvement if points is None else points
    )


def _grow(plan: Plan, session: RunSession, stop: StopRequest) -> None:
    config = plan.config
    reward = build_reward(config.reward, gamma=config.ppo.gamma)
    environment = build_environment(
        plan.task,
        config,
        build_host,
        requires=required_measurements(config, reward),
        profile=required_profile(config),
        telemetry=session.telemetry,
    )
    session.built(environment.spec, environment.plan)
    rules = heuristic_rules(plan.task, config)
    try:
        with stop.breakable():
            session.phase(Phase.TRAINING)
            session.status = run_controllers(
                environment,
                [HeuristicController(environment.spec, rules) for _ in range(config.n_envs)],
                reward,
                session.telemetry,
                rounds=config.n_episodes,
                rng_seed=config.seed,
                should_stop=stop,
                after_round=session.progress.rounds.append,
            ).status
            if session.status is RunStatus.COMPLETED:
                session.test_hosts(environment, len(session.progress.rounds))
    finally:
        environment.close()
