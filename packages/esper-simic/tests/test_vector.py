from __future__ import annotations

import io
import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from esper_leyline import Observation, PPOConfig
from esper_simic import MultiDiscretePolicy, SimicError, VectorRunner

from .masked_recall import CHOICES, WITHOUT_MEMORY, MaskedRecall

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


class Corridor(gymnasium.Env):
    """Pays 1 a step; ends after ``length`` steps, by a time limit or for good."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length, *, truncated):
        self.length, self.truncated = length, truncated

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.taken = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.taken += 1
        over = self.taken == self.length
        seen = np.full(1, self.taken / 10, np.float32)
        return seen, 1.0, over and not self.truncated, over and self.truncated, {}


def corridors(mode=AutoresetMode.NEXT_STEP, *, truncated=False, count=2):
    lengths = range(3, 3 + count)
    makers = [lambda length=length: Corridor(length, truncated=truncated) for length in lengths]
    return SyncVectorEnv(makers, autoreset_mode=mode)


def recall(count=16):
    return SyncVectorEnv([MaskedRecall] * count)


def a_rollout(runner):
    """The rollout of the runner's first round."""
    seen, update = [], runner._ppo.update
    runner._ppo.update = lambda **given: seen.append(runner._ppo.rollout()) or update(**given)
    return runner.learn(1)[0], seen[0]


@pytest.mark.slow
def test_the_readme_example_learns(capsys):
    gymnasium.register("MaskedRecall-v0", MaskedRecall)
    (example,) = re.findall(r"```python\n(import gymnasium\n.*?)```", README, re.DOTALL)
    torch.manual_seed(0)
    exec(compile(example, "README.md", "exec"), {})
    earned = float(capsys.readouterr().out.split()[-1])
    assert earned > 0.9 > WITHOUT_MEMORY
    assert len([line for line in example.splitlines() if line]) <= 10


def test_rows_between_episodes_are_padding():
    """The reset of NEXT_STEP ignores its action: that step is not learnt from."""
    runner = VectorRunner(corridors(), MultiDiscretePolicy.of(corridors()), steps=9)
    result, rollout = a_rollout(runner)
    # Three steps, one reset, three steps, one reset, one step; the other has four steps.
    assert rollout.valid[:, 0].tolist() == [True] * 3 + [False] + [True] * 3 + [False, True]
    assert rollout.starts[:, 0].nonzero().flatten().tolist() == [0, 4, 8]
    assert rollout.starts[:, 1].nonzero().flatten().tolist() == [0, 5]
    assert rollout.terminated[:, 0].nonzero().flatten().tolist() == [2, 6]
    assert rollout.rewards[:, 0].tolist() == rollout.valid[:, 0].float().tolist()
    assert (result.episodes, result.mean_return) == (4, pytest.approx((3 + 3 + 4 + 4) / 4))
    assert result.mean_length == result.mean_return


def test_same_step_resets_have_no_padding():
    mode = AutoresetMode.SAME_STEP
    runner = VectorRunner(corridors(mode), MultiDiscretePolicy.of(corridors()), steps=7)
    result, rollout = a_rollout(runner)
    assert rollout.valid.all()
    assert rollout.starts[:, 0].nonzero().flatten().tolist() == [0, 3, 6]
    assert rollout.terminated[:, 0].nonzero().flatten().tolist() == [2, 5]
    assert result.episodes == 3


@pytest.mark.slow
@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_truncated_episodes_are_bootstrapped_and_terminated_ones_are_not(mode):
    """With gamma 0.5 a step is worth 2 for ever, but 1 where nothing follows."""

    def last_values(*, truncated):
        envs = corridors(mode, truncated=truncated, count=4)
        torch.manual_seed(1)
        policy = MultiDiscretePolicy.of(envs, hidden=16)
        config = PPOConfig(epochs=8, learning_rate=1e-2, gamma=0.5, target_kl=None)
        runner = VectorRunner(envs, policy, config, steps=32)
        runner.learn(30)
        return runner.learn(1)[0].update.return_mean

    assert last_values(truncated=True) == pytest.approx(2.0, abs=0.15)
    assert last_values(truncated=False) < 1.8


def test_the_state_is_carried_from_rollout_to_rollout():
    envs = corridors()
    runner = VectorRunner(envs, MultiDiscretePolicy.of(envs), steps=2)
    _, first = a_rollout(runner)
    assert all(part.abs().sum() == 0 for part in first.state)
    assert runner._ppo._storage._state[0].abs().sum() > 0
    assert first.starts[0].all()


def test_act_and_evaluate_agree_over_several_episodes():
    envs = recall(4)
    torch.manual_seed(0)
    policy = MultiDiscretePolicy.of(envs)
    runner = VectorRunner(envs, policy, PPOConfig(epochs=1), steps=20)
    decisions, act = [], runner._ppo.act
    runner._ppo.act = lambda *given, **named: (
        decisions.append(act(*given, **named)) or decisions[-1]
    )
    collected, update = [], runner._ppo.update

    def keep(**given):
        rollout = runner._ppo.rollout()
        observed = Observation(
            features=rollout.observation.features[:-1],
            blueprints=rollout.observation.blueprints[:-1],
            masks={name: mask[:-1] for name, mask in rollout.observation.masks.items()},
        )
        again = policy.evaluate(observed, rollout.actions, rollout.state, rollout.starts)
        collected.append((rollout, again))
        return update(**given)

    runner._ppo.update = keep
    (result,) = runner.learn(1)
    rollout, again = collected[0]
    acted = torch.stack([decision.log_probs for decision in decisions])
    assert torch.allclose(again.log_probs[rollout.valid], acted[rollout.valid], atol=1e-5)
    assert rollout.starts.sum() > 8
    assert result.update.ratio_min == result.update.ratio_max == 1.0


def test_closed_choices_are_never_taken_and_have_no_gradient():
    policy = MultiDiscretePolicy(3, (2, 4))
    masks = {
        "0": torch.tensor([[True, False]]),
        "1": torch.tensor([[False, True, False, True]]),
    }
    observation = Observation(
        features=torch.ones(1, 3), blueprints=torch.zeros(1, 0, dtype=torch.int64), masks=masks
    )
    random, state = torch.Generator().manual_seed(0), policy.initial_state(1)
    taken = {
        tuple(policy.act(observation, state, generator=random).actions[0].tolist())
        for _ in range(60)
    }
    assert taken == {(0, 1), (0, 3)}
    sequence = Observation(
        features=torch.ones(1, 1, 3),
        blueprints=torch.zeros(1, 1, 0, dtype=torch.int64),
        masks={name: mask.unsqueeze(0) for name, mask in masks.items()},
    )
    actions = torch.tensor([[[0, 1]]])
    found = policy.evaluate(sequence, actions, state, torch.ones(1, 1, dtype=torch.bool))
    assert found.choosable.tolist() == [[[False, True]]]
    assert found.entropies[0, 0].tolist() == pytest.approx([0.0, 1.0], abs=1e-3)
    (found.log_probs.sum() + found.entropies.sum()).backward()
    gradient = policy.head_layers[1].bias.grad
    assert gradient.isfinite().all()
    assert gradient[[0, 2]].tolist() == [0.0, 0.0]
    assert gradient[1] != 0


def test_masks_by_head_and_by_method_are_those_of_the_info():
    class ByHead(MaskedRecall):
        def info(self):
            mask = super().info()["action_mask"]
            return {"action_mask": (mask[:2], mask[2:])}

    class ByMethod(MaskedRecall):
        def info(self):
            return {}

        def action_masks(self):
            return MaskedRecall.info(self)["action_mask"]

    kinds = {
        MaskedRecall: {},
        ByHead: {},
        ByMethod: {"masks": lambda envs, info: envs.call("action_masks")},
    }
    found = []
    for kind, options in kinds.items():
        envs = SyncVectorEnv([kind] * 3)
        torch.manual_seed(0)
        runner = VectorRunner(envs, MultiDiscretePolicy.of(envs), steps=12, **options)
        found.append(a_rollout(runner)[1])
    for other in found[1:]:
        assert torch.equal(found[0].actions[found[0].valid], other.actions[other.valid])


@pytest.mark.parametrize(
    ("mask", "why"),
    [
        ([0, 0, 1, 1, 1], "environment 0 closes all choices of head 0; leave at least one open"),
        ([1, 1, 1], r"environment 0 has 3 entries; heads of \(2, 3\) choices need 5"),
    ],
)
def test_invalid_masks_are_refused(mask, why):
    class Wrong(MaskedRecall):
        def info(self):
            return {"action_mask": np.array(mask, np.int8)}

    envs = SyncVectorEnv([Wrong])
    with pytest.raises(SimicError, match=why):
        VectorRunner(envs, MultiDiscretePolicy(6, CHOICES))


def test_environments_that_do_not_fit_are_refused():
    with pytest.raises(SimicError, match=r"autoreset_mode is DISABLED; build .* NEXT_STEP"):
        VectorRunner(corridors(AutoresetMode.DISABLED), MultiDiscretePolicy.of(corridors()))
    with pytest.raises(SimicError, match="minibatches is 3 and there are 2 environments"):
        VectorRunner(corridors(), MultiDiscretePolicy.of(corridors()), PPOConfig(minibatches=3))

    class Continuous(Corridor):
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))

    with pytest.raises(SimicError, match=r"actions are Box.*; they must be MultiDiscrete"):
        MultiDiscretePolicy.of(SyncVectorEnv([lambda: Continuous(3, truncated=False)]))


def test_a_runner_continues_from_its_state():
    first = VectorRunner(recall(4), MultiDiscretePolicy.of(recall(4)), steps=8)
    first.learn(2)
    again = VectorRunner(recall(4), MultiDiscretePolicy.of(recall(4)), steps=8, rng_seed=1)
    again.load_state_dict(torch.load(saved(first), weights_only=True))
    for name, weight in first._policy.state_dict().items():
        assert torch.equal(weight, again._policy.state_dict()[name])
    assert first._ppo.state_dict()["episodes"] == again._ppo.state_dict()["episodes"]
    assert again.learn(1)[0].round == 3


def test_runners_with_one_state_and_fresh_environments_learn_the_same():
    first = VectorRunner(recall(4), MultiDiscretePolicy.of(recall(4)), steps=8)
    first.learn(2)
    weights = []
    for _ in range(2):
        runner = VectorRunner(recall(4), MultiDiscretePolicy.of(recall(4)), steps=8, rng_seed=1)
        runner.load_state_dict(torch.load(saved(first), weights_only=True))
        runner.learn(2)
        weights.append(torch.cat([each.flatten() for each in runner._policy.parameters()]))
    assert torch.equal(*weights)


def test_on_round_receives_each_round():
    seen = []
    runner = VectorRunner(recall(4), MultiDiscretePolicy.of(recall(4)), steps=8)
    assert runner.learn(2, on_round=seen.append) == seen
    assert [each.round for each in seen] == [1, 2]


def test_an_entropy_factor_of_an_unknown_head_is_refused():
    policy = MultiDiscretePolicy.of(recall(4))
    VectorRunner(recall(4), policy, PPOConfig(entropy_multipliers={policy.heads[0]: 2.0}))
    known = ", ".join(policy.heads)
    with pytest.raises(SimicError, match=rf"names head 'opp'; heads of the policy: {known}"):
        VectorRunner(recall(4), policy, PPOConfig(entropy_multipliers={"opp": 2.0}))


def saved(runner):
    file = io.BytesIO()
    torch.save(runner.state_dict(), file)
    file.seek(0)
    return file


class OwnPolicy(torch.nn.Module):
    """A policy with the methods of ``TrainablePolicy`` and no others."""

    def __init__(self, inner):
        super().__init__()
        self._inner = inner
        for name in ("initial_state", "update_normalizer", "act", "evaluate", "head_parameters"):
            setattr(self, name, getattr(inner, name))
        self.heads, self.first_choices = inner.heads, inner.first_choices


def test_any_trainable_policy_is_trained():
    envs = recall()
    policy = OwnPolicy(MultiDiscretePolicy.of(envs))
    before = torch.cat([each.detach().flatten() for each in policy.parameters()])
    (result,) = VectorRunner(envs, policy, PPOConfig(epochs=1), steps=8).learn(1)
    after = torch.cat([each.detach().flatten() for each in policy.parameters()])
    assert result.update.skipped is None
    assert not torch.equal(before, after)


def test_a_policy_with_another_number_of_heads_is_refused():
    policy = MultiDiscretePolicy(6, (2,))
    with pytest.raises(SimicError, match="heads 0, the environment takes 2 actions"):
        VectorRunner(recall(), policy)
