from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from esper_leyline import HEADS, FactoredAction, NullTelemetry, Op, PPOConfig, RewardBreakdown
from esper_simic import PPO, PolicyActor, RoundRecorder, collect_round
from esper_simic.ppo.batch import make_batch
from esper_simic.ppo.learning_rate import LEAST_SCALE
from esper_simic.ppo.losses import clipped_surrogate
from esper_simic.ppo.returns import head_advantages
from esper_simic.rollout.storage import slice_observation

from .rollout_helpers import UNIT_SCALE, changed, permuted, play, weights
from .toy_environments import ForgetfulPolicy, PuzzleEnvironment, bandit_reward, small_policy


def updated(policy, rollout, **ppo):
    """Returns a copy of the policy after one update, and what was said of it."""
    copy = deepcopy(policy)
    config = PPOConfig(**({"epochs": 3, "learning_rate": 3e-3, "target_kl": None} | ppo))
    return copy, PPO(copy, config).update(rollout, round_number=1)


def test_act_and_evaluate_agree(world, policy):
    """Decisions of a rollout, collected one by one, against one evaluation of the sequence."""
    ppo = PPO(policy, PPOConfig())
    actor = PolicyActor(ppo, policy, rng_seed=3)
    decisions, act = [], ppo.act
    ppo.act = lambda observation: decisions.append(act(observation)) or decisions[-1]
    recorder = RoundRecorder(NullTelemetry(), round_number=1, environments=6)
    collect_round(
        world,
        actor,
        bandit_reward,
        recorder.step,
        recorder.watch,
        rng_seeds=range(6),
        should_stop=lambda: False,
    )
    rollout = ppo.rollout()
    observed = slice_observation(rollout.observation, 0, rollout.steps)
    again = policy.evaluate(observed, rollout.actions, rollout.state, rollout.starts)
    valid = rollout.valid
    for name in ("log_probs", "value", "q_values"):
        acted = torch.stack([getattr(decision, name) for decision in decisions])
        assert torch.allclose(getattr(again, name)[valid], acted[valid], atol=1e-5), name


@pytest.mark.parametrize("chunk_length", [None, 2])
def test_the_ratio_is_exactly_one_on_the_first_pass(policy, rollout, chunk_length):
    _, event = updated(policy, rollout, epochs=1, chunk_length=chunk_length)
    assert event.ratio_min == event.ratio_max == 1.0
    assert event.kl == 0.0
    assert event.clip_fraction == 0.0


def test_the_ratio_changes_a_little_over_several_passes(policy, rollout):
    _, event = updated(policy, rollout, epochs=4, learning_rate=1e-3)
    assert event.passes == 4
    assert event.ratio_min < 1 < event.ratio_max
    assert 0 < event.kl < 0.1


def test_every_pass_is_made_whatever_the_kl(policy, rollout):
    """The critic learns in all of them; what grows too large is cut by the learning rate."""
    _, few = updated(policy, rollout, epochs=2, learning_rate=1e-2, target_kl=1e-4)
    after, event = updated(policy, rollout, epochs=50, learning_rate=1e-2, target_kl=1e-4)
    assert event.passes == 50
    assert event.skipped is None
    assert event.learning_rate == pytest.approx(1e-2 * LEAST_SCALE)
    assert event.value_loss < few.value_loss
    free, far = updated(policy, rollout, epochs=50, learning_rate=1e-2, target_kl=None)
    assert far.learning_rate == 1e-2
    assert event.kl < far.kl
    assert not torch.equal(weights(after), weights(free))


def test_the_kl_of_a_decision_is_the_sum_of_its_heads(policy, rollout):
    _, event = updated(policy, rollout, epochs=4)
    measured = {head: kl for head, kl in event.head_kl.items() if kl is not None}
    assert measured.keys() == {"op", "slot", "tempo", "alpha_target"}
    assert min(measured.values()) > 0
    assert event.kl == pytest.approx(sum(measured.values()))


def test_the_largest_kl_of_a_head_sets_the_rate(policy, rollout):
    _, event = updated(policy, rollout, epochs=2)
    furthest = max(kl for kl in event.head_kl.values() if kl is not None)
    for share, scale in ((0.49, 1 / 1.5), (0.51, 1.0), (1.9, 1.0)):
        _, cut = updated(policy, rollout, epochs=2, target_kl=furthest * share)
        assert cut.learning_rate == pytest.approx(3e-3 * scale)


def test_the_rate_rises_again_up_to_the_configured_one(policy, rollout):
    learner = PPO(deepcopy(policy), PPOConfig(epochs=3, learning_rate=1e-4, target_kl=10.0))
    learner.rate_scale = 0.5
    rates = [learner.update(rollout, round_number=n).learning_rate for n in (1, 2, 3)]
    assert rates == pytest.approx([1e-4] * 3)
    assert learner.rate_scale == 1.0


def test_a_single_step_has_kl_zero_and_keeps_the_rate(policy, rollout):
    learner = PPO(deepcopy(policy), PPOConfig(epochs=1, target_kl=10.0))
    learner.rate_scale = 0.5
    assert learner.update(rollout, round_number=1).learning_rate == pytest.approx(1.5e-4)


def test_a_changed_rate_keeps_its_scale(policy):
    first = PPO(policy, PPOConfig(learning_rate=1e-3))
    first.rate_scale = 0.5
    second = PPO(policy, PPOConfig(learning_rate=1e-4))
    second.load_state_dict(first.state_dict())
    assert second.learning_rate == pytest.approx(5e-5)
    fixed = PPO(policy, PPOConfig(learning_rate=1e-4, target_kl=None))
    fixed.load_state_dict(first.state_dict())
    assert fixed.learning_rate == 1e-4


def test_padding_is_not_read(policy, rollout):
    padding = ~rollout.valid
    assert padding.any()
    junk = torch.Generator().manual_seed(1)
    actions = torch.where(
        padding.unsqueeze(-1),
        torch.randint(0, 2, rollout.actions.shape, generator=junk),
        rollout.actions,
    )
    observation = rollout.observation
    padded = torch.cat((padding, torch.zeros_like(padding[:1])))
    noise = torch.randn(observation.features.shape, generator=junk) * 5
    filled = replace(
        observation,
        features=torch.where(padded.unsqueeze(-1), noise, observation.features),
        masks=observation.masks | {"op": observation.masks["op"] | padded.unsqueeze(-1)},
    )
    spoilt = changed(
        rollout,
        observation=filled,
        actions=actions,
        rewards=torch.where(padding, math.nan, rollout.rewards),
    )
    for options in ({}, {"chunk_length": 2}, {"bootstrap_horizon": True}):
        clean, event = updated(policy, rollout, **options)
        other, other_event = updated(policy, spoilt, **options)
        assert torch.equal(weights(clean), weights(other))
        ignored = {"seconds", "lstm_hidden_norm", "lstm_cell_norm"}
        assert event.model_dump(exclude=ignored) == other_event.model_dump(exclude=ignored)


def test_permuting_environments_changes_nothing(policy, rollout):
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    _, event = updated(policy, rollout, epochs=1)
    _, moved = updated(policy, permuted(rollout, order), epochs=1)
    assert moved.policy_loss == pytest.approx(event.policy_loss, abs=1e-6)
    assert moved.value_loss == pytest.approx(event.value_loss, rel=1e-5)
    assert moved.gradient_norm == pytest.approx(event.gradient_norm, rel=1e-4)


def test_chunks_see_the_same_state_as_whole_episodes(policy, rollout):
    _, whole = updated(policy, rollout, epochs=1)
    _, chunked = updated(policy, rollout, epochs=1, chunk_length=2)
    assert chunked.value_loss == pytest.approx(whole.value_loss, rel=1e-5)
    assert chunked.entropy == pytest.approx(whole.entropy, rel=1e-5)
    assert chunked.gradient_norm != pytest.approx(whole.gradient_norm, rel=1e-5)


def test_chunks_of_a_policy_without_memory_give_the_same_update(world):
    forgetful = small_policy(world)
    forgetful.__class__ = ForgetfulPolicy
    rollout = play(world, forgetful, bandit_reward)
    whole, _ = updated(forgetful, rollout, epochs=2)
    chunked, _ = updated(forgetful, rollout, epochs=2, chunk_length=2)
    assert torch.allclose(weights(whole), weights(chunked), atol=2e-5)


def test_forced_steps_have_no_policy_gradient(policy):
    idle = PuzzleEnvironment(environments=4, length=3, open_steps=0)
    rollout = play(idle, policy, lambda *_: RewardBreakdown(components={"luck": 1.0}))
    after, event = updated(policy, rollout, epochs=2)
    assert event.policy_loss is None
    assert event.entropy is None
    assert set(event.head_entropy.values()) == {None}
    for head in HEADS:
        before = policy.policy.heads[head].weight
        assert torch.equal(before, after.policy.heads[head].weight), head
    assert event.value_loss > 0


def test_heads_are_measured_only_where_they_had_a_choice(policy, rollout):
    _, event = updated(policy, rollout, epochs=1)
    measured = {head for head, entropy in event.head_entropy.items() if entropy is not None}
    assert measured == {"op", "slot", "tempo", "alpha_target"}
    assert set(event.head_gradient_norm) == set(HEADS)
    assert event.head_gradient_norm["op"] > 0
    assert event.head_gradient_norm["style"] == 0
    parts = [norm for norm in event.head_gradient_norm.values() if norm is not None]
    assert math.hypot(*parts) <= event.gradient_norm


def test_q_values_are_reported_by_op_and_only_where_the_op_was_open(policy, rollout):
    _, event = updated(policy, rollout, epochs=1)
    opened = rollout.observation.masks["op"][:-1, :, Op.GERMINATE]
    by_op = {q.op: q for q in event.q_values}
    assert by_op["WAIT"].valid_steps == int(rollout.valid.sum())
    assert by_op["GERMINATE"].valid_steps == int((rollout.valid & opened).sum())
    assert by_op["PRUNE"].mean is None
    assert by_op["PRUNE"].valid_steps == 0
    assert event.q_spread == pytest.approx(abs(by_op["WAIT"].mean - by_op["GERMINATE"].mean))


def test_the_horizon_is_final_unless_configured_otherwise(policy, rollout):
    with torch.no_grad():
        actions = torch.cat((rollout.actions, rollout.actions[:1] * 0))
        starts = torch.cat((rollout.starts, ~rollout.starts[:1]))
        evaluation = policy.evaluate(rollout.observation, actions, policy.initial_state(6), starts)
    final, cut = (
        make_batch(rollout, evaluation, PPOConfig(bootstrap_horizon=flag), UNIT_SCALE)
        for flag in (False, True)
    )
    assert torch.allclose(final.returns[-1, 0], rollout.rewards[-1, 0])
    assert torch.allclose(cut.returns[-1, 0], rollout.rewards[-1, 0] + 0.995 * cut.values[-1, 0])
    assert torch.allclose(cut.returns[1, 4], rollout.rewards[1, 4])
    only_wait = rollout.observation.masks["op"][:-1].sum(dim=-1) == 1
    assert not final.whole.choosable[only_wait].any()
    assert not final.whole.decided[only_wait].any()


def test_q_as_baseline_cancels_the_gradient_of_the_op_and_v_does_not():
    """A two-op bandit that pays 1 for op 1 and 0 for op 0, with an exact critic Q."""
    q_values = torch.tensor([0.0, 1.0])

    def probability_of_the_better(biased: bool) -> float:
        logits = torch.zeros(2, requires_grad=True)
        random = torch.Generator().manual_seed(0)
        for _ in range(50):
            probs = logits.detach().softmax(0)
            ops = torch.multinomial(probs, 32, replacement=True, generator=random)
            returns, q_taken = q_values[ops], q_values[ops]
            baseline = q_taken if biased else (probs * q_values).sum().expand(32)
            choosable = torch.ones(32, 1, 2, dtype=torch.bool)
            advantages = head_advantages(
                (returns - baseline).unsqueeze(1),
                (returns - q_taken).unsqueeze(1),
                choosable,
                smallest_std=0.05,
            )
            log_probs = logits.log_softmax(0)[ops]
            ratio = (log_probs - log_probs.detach()).exp()
            surrogate = clipped_surrogate(ratio, advantages[:, 0, 0], 0.2).mean()
            (ascent,) = torch.autograd.grad(surrogate, logits)
            logits = (logits + 0.5 * ascent).detach().requires_grad_()
        return logits.detach().softmax(0)[1].item()

    assert probability_of_the_better(biased=True) == 0.5
    assert probability_of_the_better(biased=False) > 0.95


def test_the_baseline_of_heads_given_an_op_is_q_of_that_op():
    choosable = torch.ones(2, 1, 3, dtype=torch.bool)
    op, rest = torch.tensor([[1.0], [3.0]]), torch.tensor([[8.0], [4.0]])
    out = head_advantages(op, rest, choosable, smallest_std=0.05)
    assert out[:, 0].tolist() == [[-1, 1, 1], [1, -1, -1]]


@pytest.mark.parametrize(
    ("episodes", "coefficient"), [(0, 0.06), (100, 0.045), (200, 0.03), (900, 0.03)]
)
def test_entropy_is_annealed_by_episodes(policy, episodes, coefficient):
    annealed = PPOConfig(entropy_coefficient=0.06, entropy_final=0.03, entropy_anneal_episodes=200)
    updater = PPO(policy, annealed)
    updater.episodes = episodes
    assert updater.entropy_coefficient == pytest.approx(coefficient)


def test_episodes_are_counted(policy, rollout):
    updater = PPO(deepcopy(policy), PPOConfig())
    updater.update(rollout, round_number=1)
    assert updater.episodes == rollout.environments


def test_entropy_multipliers_scale_the_bonus_of_a_head(policy, rollout):
    silent = dict.fromkeys(HEADS, 0.0)
    without, _ = updated(policy, rollout, entropy_coefficient=0.5, entropy_multipliers=silent)
    none, _ = updated(policy, rollout, entropy_coefficient=0.0)
    some, _ = updated(policy, rollout, entropy_coefficient=0.5)
    assert torch.equal(weights(without), weights(none))
    assert not torch.equal(weights(some), weights(none))


@pytest.mark.parametrize("bad", ["rewards", "features"])
def test_an_update_with_a_nan_changes_nothing_and_is_skipped(policy, rollout, bad):
    if bad == "rewards":
        spoilt = changed(rollout, rewards=rollout.rewards.clone().fill_(math.inf))
    else:
        features = rollout.observation.features.clone()
        features[0, 0, 0] = math.nan
        spoilt = changed(rollout, observation=replace(rollout.observation, features=features))
    copy = deepcopy(policy)
    updater = PPO(copy, PPOConfig())
    before = deepcopy(copy.state_dict())
    event = updater.update(spoilt, round_number=1)
    assert "not finite" in event.skipped
    assert event.passes == 0
    assert updater.consecutive_skips == 1
    assert all(torch.equal(before[name], value) for name, value in copy.state_dict().items())
    updater.update(rollout, round_number=2)
    assert updater.consecutive_skips == 0


def test_weights_that_are_not_finite_are_reported(policy, rollout):
    broken = deepcopy(policy)
    with torch.no_grad():
        broken.critic.output.weight[0, 0] = math.nan
    event = PPO(broken, PPOConfig()).update(rollout, round_number=1)
    assert event.skipped == "the critic's values are not finite"


def test_observation_statistics_change_in_the_update_only(world):
    policy = small_policy(world)
    rollout = play(world, policy, bandit_reward)
    assert policy.normalizer.count.sum() == 0
    PPO(policy, PPOConfig()).update(rollout, round_number=1)
    assert policy.normalizer.count.max() == rollout.valid.sum()


def test_gradients_are_clipped(policy, rollout):
    _, event = updated(policy, rollout, epochs=1)
    config = PPOConfig(max_grad_norm=event.gradient_norm / 10)
    copy = deepcopy(policy)
    updater = PPO(copy, config)
    seen = []
    step = updater._optimizer.step
    updater._optimizer.step = lambda: (
        seen.append(
            math.sqrt(
                sum(float(p.grad.square().sum()) for p in copy.parameters() if p.grad is not None)
            )
        ),
        step(),
    )
    starved = updater.update(rollout, round_number=1)
    assert seen[0] == pytest.approx(config.max_grad_norm, rel=1e-4)
    # The event says what clipping took: small steps that look like ordinary ones starve a policy.
    assert starved.gradient_kept == pytest.approx(0.1, rel=1e-4)
    assert starved.gradient_norm == pytest.approx(event.gradient_norm)
    assert event.gradient_kept == 1.0


def test_mixed_precision_uses_bfloat16_in_layers_only(policy, rollout):
    copy, widths = deepcopy(policy), {}
    names = {module: name for name, module in copy.named_modules()}

    def note(module, _given, output):
        widths[names[module]] = (output[0] if isinstance(output, tuple) else output).dtype

    for module in names:
        if isinstance(module, torch.nn.Linear | torch.nn.LSTM):
            module.register_forward_hook(note)
    event = PPO(copy, PPOConfig(epochs=1, amp=True)).update(rollout, round_number=1)
    assert widths.pop("trunk.lstm") == torch.float32
    assert set(widths.values()) == {torch.bfloat16}
    assert {each.dtype for each in copy.parameters()} == {torch.float32}
    assert event.skipped is None
    assert event.ratio_min == event.ratio_max == 1.0
    _, exact = updated(policy, rollout, epochs=1)
    assert event.gradient_norm == pytest.approx(exact.gradient_norm, rel=0.05)
    assert event.value_loss == pytest.approx(exact.value_loss, rel=0.05)
    assert event.gradient_norm != exact.gradient_norm


def test_actions_are_stored_unchanged(rollout):
    for indices in rollout.actions.flatten(0, 1).tolist():
        action = FactoredAction.from_indices(indices)
        assert action == action.canonical()
