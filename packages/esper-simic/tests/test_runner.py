from __future__ import annotations

import io
import math
from dataclasses import dataclass, field

import pytest
import torch

from esper_leyline import FactoredAction, Op, RewardBreakdown, RunStatus, StepReport
from esper_leyline.config.training import CheckpointConfig
from esper_simic import (
    PPORunner,
    SimicError,
    SkippedUpdatesError,
    action_seed,
    episode_seeds,
    run_controllers,
)

from .rollout_helpers import RNG_SEED, config, weights
from .toy_environments import PuzzleEnvironment, RecordedTelemetry, bandit_reward, small_policy


@dataclass
class Germinator:
    """Germinates in the second slot whenever it may."""

    seeds: list[int] = field(default_factory=list)

    def reset(self, rng_seed: int) -> None:
        self.seeds.append(rng_seed)

    def decide(self, report: StepReport) -> FactoredAction:
        allowed = Op.GERMINATE in report.seeds[1].permitted
        return FactoredAction(op=Op.GERMINATE if allowed else Op.WAIT, slot=int(allowed))


class StopAfter:
    def __init__(self, steps: int) -> None:
        self.left = steps

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def trainer(environment=None, reward=bandit_reward, telemetry=None, **options):
    world = environment or PuzzleEnvironment(environments=4, length=3, open_steps=2)
    policy = small_policy(world, floor=0.1)
    options = {"rng_seed": RNG_SEED} | options
    return PPORunner(world, policy, reward, config(), telemetry, **options), policy


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def summaries(outcome):
    return [summary.model_dump(exclude={"seconds"}) for summary in outcome.rounds]


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit():
    straight, policy = trainer()
    expected = straight.learn(4)
    first, _ = trainer()
    first.learn(2)
    second, other = trainer()
    second.load_state_dict(through_a_file(first.state_dict()))
    assert second.rounds_completed == 2
    outcome = second.learn(4)
    assert torch.equal(weights(policy), weights(other))
    assert summaries(outcome) == summaries(expected)
    mine, theirs = straight.state_dict(), second.state_dict()
    assert mine["ppo"]["values"] == theirs["ppo"]["values"]
    assert mine["ppo"]["rewards"] == theirs["ppo"]["rewards"]
    for name, value in mine["policy"].items():
        assert torch.equal(value, theirs["policy"][name]), name


def test_two_runs_of_one_seed_are_the_same():
    (first, policy), (second, other) = trainer(), trainer()
    assert summaries(first.learn(2)) == summaries(second.learn(2))
    assert torch.equal(weights(policy), weights(other))


def test_an_interrupted_round_is_discarded_and_the_run_can_go_on():
    straight, policy = trainer()
    expected = straight.learn(3)
    saved = []
    broken, other = trainer(write_checkpoint=lambda state: saved.append(len(state["rounds"])))
    outcome = broken.learn(3, should_stop=StopAfter(3 + 3 + 2))
    assert outcome.status is RunStatus.INTERRUPTED
    assert (len(outcome.rounds), outcome.discarded_steps) == (2, 2)
    assert saved == [1, 2]
    again = broken.learn(3)
    assert again.status is RunStatus.COMPLETED
    assert summaries(again) == summaries(expected)
    assert torch.equal(weights(policy), weights(other))


def test_checkpoints_follow_the_configuration():
    saved = []
    runner, _ = trainer(
        checkpoints=CheckpointConfig(every=2),
        write_checkpoint=lambda state: saved.append(len(state["rounds"])),
    )
    runner.learn(5)
    assert saved == [1, 2, 4, 5]


def test_zero_minutes_write_a_checkpoint_after_every_round():
    saved = []
    runner, _ = trainer(
        checkpoints=CheckpointConfig(every=100, minutes=0),
        write_checkpoint=lambda state: saved.append(len(state["rounds"])),
    )
    runner.learn(3)
    assert saved == [1, 2, 3]


@pytest.mark.parametrize("error", [KeyError("lost"), MemoryError(), KeyboardInterrupt()])
def test_an_error_in_an_update_keeps_the_rounds_before_it(monkeypatch, error):
    straight, _ = trainer()
    straight.learn(2)
    saved = []
    runner, _ = trainer(write_checkpoint=saved.append)
    update = runner._ppo.update

    def fail_in_the_third(*, round_number):
        report = update(round_number=round_number)
        if round_number == 3:
            raise error
        return report

    monkeypatch.setattr(runner._ppo, "update", fail_in_the_third)
    with pytest.raises(type(error)):
        runner.learn(4)
    assert [len(state["rounds"]) for state in saved] == [1, 2]
    for name, value in straight.state_dict()["policy"].items():
        assert torch.equal(value, saved[-1]["policy"][name]), name


def test_three_updates_that_are_not_finite_end_the_run_after_a_checkpoint():
    saved, telemetry = [], RecordedTelemetry()

    def broken(previous, action, current):
        return RewardBreakdown(components={"broken": math.nan})

    runner, policy = trainer(
        reward=broken,
        telemetry=telemetry,
        write_checkpoint=lambda state: saved.append(len(state["rounds"])),
    )
    before = weights(policy).clone()
    why = r"3 updates in a row .* round 3: a reward is not finite; lower host\.learning_rate"
    with pytest.raises(SkippedUpdatesError, match=why) as caught:
        runner.learn(10)
    assert caught.value.changes == {}
    assert saved == [1, 3]
    assert torch.equal(weights(policy), before)
    found = telemetry.of("numerical_instability")
    assert [one.consecutive for one in found] == [1, 2, 3]


def with_rate(rate):
    """A trainer whose steps are as large as that, beyond what a configuration may say."""
    world = PuzzleEnvironment(environments=4, length=3, open_steps=2)
    policy, telemetry, saved = small_policy(world, floor=0.1), RecordedTelemetry(), []
    settings = config().model_copy(
        update={"learning_rate": rate, "epochs": 3, "target_kl": None, "max_grad_norm": 1e6}
    )
    runner = PPORunner(
        world,
        policy,
        bandit_reward,
        settings,
        telemetry,
        rng_seed=RNG_SEED,
        write_checkpoint=saved.append,
    )
    return runner, policy, telemetry, saved


def test_a_skipped_update_is_undone_and_a_lower_rate_goes_on_from_there():
    runner, policy, telemetry, saved = with_rate(1e30)
    before = weights(policy).clone()
    why = r"3 updates in a row .* pass \d is not finite; resume .* lower ppo\.learning_rate"
    with pytest.raises(SkippedUpdatesError, match=why) as caught:
        runner.learn(5)
    assert caught.value.changes == {"ppo.learning_rate": pytest.approx(1e29)}
    assert torch.equal(weights(policy), before)
    assert [update.skipped is None for update in telemetry.of("ppo_update")] == [False] * 3

    resumed, policy, telemetry, _ = with_rate(1e-3)
    resumed.load_state_dict(through_a_file(saved[-1]))
    assert torch.equal(weights(policy), before)
    outcome = resumed.learn(5)
    assert [summary.round for summary in outcome.rounds] == [1, 2, 3, 4, 5]
    updates = telemetry.of("ppo_update")
    assert [(update.learning_rate, update.skipped) for update in updates] == [(1e-3, None)] * 2
    moved = (weights(policy) - before).abs().max()
    # Adam moves a weight by about the learning rate a step: two updates of three passes.
    assert 0 < moved < 2 * 3 * 1e-3 * 3


def test_one_bad_update_after_a_resumption_does_not_end_the_run_at_once():
    runner, _, _, saved = with_rate(1e30)
    with pytest.raises(SkippedUpdatesError):
        runner.learn(5)
    resumed, _, telemetry, _ = with_rate(1e30)
    resumed.load_state_dict(through_a_file(saved[-1]))
    with pytest.raises(SkippedUpdatesError):
        resumed.learn(9)
    assert [event.round for event in telemetry.events_of("ppo_update")] == [4, 5, 6]


def test_a_round_has_events_from_its_first_step_to_its_summary():
    telemetry = RecordedTelemetry()
    world = PuzzleEnvironment(environments=4, length=3, open_steps=2, fail_at={2: 1})
    runner, _ = trainer(world, telemetry=telemetry)
    runner.learn(2)
    kinds = [event.kind for event in telemetry.events]
    rounds = [index for index, kind in enumerate(kinds) if kind == "round_completed"]
    assert len(rounds) == 2
    assert kinds[rounds[0] - 1] == "ppo_update" or kinds.index("ppo_update") < rounds[0]
    assert kinds.count("decision") == kinds.count("epoch_completed") == 2 * (3 * 3 + 1)
    assert kinds.count("episode_outcome") == 8
    assert len(telemetry.of("decision", environment=2)) == 2
    decision = telemetry.of("decision", environment=0)[-1]
    assert decision.value is not None
    assert decision.q_values is not None
    assert decision.heads["op"].valid[Op.GERMINATE]
    throughput = telemetry.of("throughput")[0].seconds
    assert {"act", "environment", "record", "update", "host.train"} <= set(throughput)


def test_values_are_reported_in_reward_units():
    telemetry = RecordedTelemetry()

    def generous(previous, action, current):
        return RewardBreakdown(components={"gift": 100.0})

    world = PuzzleEnvironment(environments=4, length=2, open_steps=2)
    # Some seeds take longer than 25 rounds to tell the two steps apart.
    policy = small_policy(world, seed=4)
    settings = config(epochs=8, learning_rate=3e-3)
    PPORunner(world, policy, generous, settings, telemetry, rng_seed=RNG_SEED).learn(25)
    first = [
        event.payload.value
        for event in telemetry.events_of("decision")
        if (event.round, event.epoch) == (25, 1)
    ]
    assert first[0] == pytest.approx(100 + 0.995 * 100, rel=0.1)


def test_controllers_get_the_same_hosts_as_a_policy():
    telemetry = RecordedTelemetry()
    world = PuzzleEnvironment(environments=4, length=3, open_steps=2)
    controllers = [Germinator() for _ in range(4)]
    outcome = run_controllers(
        world, controllers, bandit_reward, telemetry, rounds=2, rng_seed=RNG_SEED
    )
    assert outcome.status is RunStatus.COMPLETED
    assert [summary.mean_return for summary in outcome.rounds] == [2.0, 2.0]
    assert outcome.rounds[0].ops["GERMINATE"] == 8
    assert [c.seeds for c in controllers] == [
        list(pair)
        for pair in zip(episode_seeds(RNG_SEED, 1, 4), episode_seeds(RNG_SEED, 2, 4), strict=True)
    ]
    forced = [d.forced for d in telemetry.of("decision", environment=0)]
    assert forced == [True, False, False] * 2
    assert telemetry.of("decision")[0].value is None


def test_controllers_can_start_at_any_round():
    world = PuzzleEnvironment(environments=2, length=3)
    controllers = [Germinator(), Germinator()]
    outcome = run_controllers(
        world, controllers, bandit_reward, rounds=2, first_round=5, rng_seed=RNG_SEED
    )
    assert [summary.round for summary in outcome.rounds] == [5, 6]
    seeds = zip(episode_seeds(RNG_SEED, 5, 2), episode_seeds(RNG_SEED, 6, 2), strict=True)
    assert [c.seeds for c in controllers] == [list(pair) for pair in seeds]


def test_controllers_can_be_interrupted():
    world = PuzzleEnvironment(environments=2, length=3)
    outcome = run_controllers(
        world,
        [Germinator(), Germinator()],
        bandit_reward,
        rounds=3,
        should_stop=StopAfter(4),
    )
    assert outcome.status is RunStatus.INTERRUPTED
    assert (len(outcome.rounds), outcome.discarded_steps) == (1, 1)


def test_one_controller_for_two_hosts_is_refused():
    world = PuzzleEnvironment(environments=2)
    with pytest.raises(SimicError, match="1 controllers for 2 environments"):
        run_controllers(world, [Germinator()], bandit_reward, rounds=3)


def test_episode_seeds_are_distinct_and_can_be_extended():
    seeds = episode_seeds(42, 1, 8)
    assert seeds[:3] == episode_seeds(42, 1, 3)
    assert all(0 <= seed < 2**31 for seed in seeds)
    everything = [seed for number in range(1, 50) for seed in episode_seeds(42, number, 8)]
    assert len(set(everything)) == len(everything)
    assert episode_seeds(43, 1, 8) != seeds
    assert action_seed(42, 1) not in seeds


def test_episode_seeds_never_change():
    """Published figures name run seeds; these must mean the same hosts for ever."""
    assert episode_seeds(42, 1, 2) == (1664526938, 1822874127)
    assert action_seed(42, 1) == 1067095921
