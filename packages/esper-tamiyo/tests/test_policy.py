from __future__ import annotations

import copy

import pytest
import torch

from esper_leyline import (
    BUILT_IN_BLUEPRINTS,
    HEADS,
    RELEVANT_HEADS,
    Observation,
    Op,
    PolicyConfig,
    head_sizes,
)
from esper_leyline.actions import NULL_BLUEPRINT
from esper_leyline.observation import policy_input_size
from esper_tamiyo import RecurrentPolicy, TamiyoError

STEPS, ENVIRONMENTS = 16, 4


def assert_close(actual, expected, *, atol=1e-5, rtol=1e-5, msg=""):
    # Importing torch.testing would cost five seconds.
    assert torch.allclose(actual, expected, atol=atol, rtol=rtol), (msg, actual, expected)


@pytest.fixture
def spec(specs):
    return specs(max_epochs=100)


@pytest.fixture
def policy(policies, spec):
    policy = policies(spec)
    # Away from initialization, so that probabilities depend visibly on what is observed.
    with torch.no_grad():
        for head in policy.policy.heads.values():
            head.weight.mul_(100)
    return policy


@pytest.fixture
def rollout(policy, spec, gardens, rolled):
    beds = [gardens(spec, environment=index) for index in range(ENVIRONMENTS)]
    return list(rolled(policy, beds, STEPS, torch.Generator().manual_seed(7)))


def stacked(rollout):
    observations = [observation for observation, _, _ in rollout]
    return Observation(
        features=torch.stack([o.features for o in observations]),
        blueprints=torch.stack([o.blueprints for o in observations]),
        masks={
            name: torch.stack([o.masks[name] for o in observations])
            for name in observations[0].masks
        },
    )


def decided(rollout, name):
    return torch.stack([getattr(decision, name) for _, _, decision in rollout])


def first_step_starts():
    starts = torch.zeros(STEPS, ENVIRONMENTS, dtype=torch.bool)
    starts[0] = True
    return starts


def evaluated(policy, rollout, starts=None):
    starts = first_step_starts() if starts is None else starts
    state = policy.initial_state(ENVIRONMENTS)
    return policy.evaluate(stacked(rollout), decided(rollout, "actions"), state, starts)


def permuted(observation, order, dim):
    return Observation(
        features=observation.features.index_select(dim, order),
        blueprints=observation.blueprints.index_select(dim, order),
        masks={name: m.index_select(dim, order) for name, m in observation.masks.items()},
    )


def test_parameters_of_the_full_size(specs):
    policy = RecurrentPolicy(specs(3), PolicyConfig())
    embedding = 14 * 4
    features = 128 * 512 + 512 + 2 * 512
    lstm = 4 * 512 * (512 + 512) + 2 * 4 * 512
    norm = 2 * 512
    hidden = 3 * (512 * 256 + 256) + 6 * 256
    heads = sum(head_sizes(3).values()) * 257
    critic = 6 * 257
    expected = embedding + features + lstm + norm + hidden + heads + critic
    assert expected == 2_576_999
    assert sum(p.numel() for p in policy.parameters()) == expected
    assert policy.blueprints.num_embeddings == NULL_BLUEPRINT + 1 == 14
    assert policy.trunk.features[0].in_features == policy_input_size(3) == 128


def test_different_sizes_have_a_linear_residual(specs, rich):
    spec = specs(2)
    policy = RecurrentPolicy(spec, PolicyConfig(feature_size=16, memory_size=24))
    decision = policy.act(
        policy.encode([rich(spec)]), policy.initial_state(1), generator=torch.Generator()
    )
    assert decision.state[0].shape == (1, 24)


def test_the_initial_policy_is_nearly_uniform(specs, rich, policies):
    spec = specs(3)
    policy = policies(spec)
    observation = policy.encode([rich(spec)])
    decision = policy.act(observation, policy.initial_state(1), generator=torch.Generator())
    probs = decision.probabilities["op"][0][observation.masks["op"][0]]
    assert (probs - 1 / len(probs)).abs().max() < 0.02


def test_shapes_of_a_decision(policy, rollout):
    decision = rollout[0][2]
    assert decision.actions.shape == decision.log_probs.shape == (ENVIRONMENTS, len(HEADS))
    assert decision.actions.dtype == torch.int64
    assert decision.q_values.shape == (ENVIRONMENTS, len(Op))
    assert decision.value.shape == (ENVIRONMENTS,)
    for name, size in head_sizes(3).items():
        assert decision.probabilities[name].shape == (ENVIRONMENTS, size)
        assert_close(decision.probabilities[name].sum(-1), torch.ones(ENVIRONMENTS), msg=name)


def test_ratio_is_exactly_one_on_the_first_pass(policy, rollout):
    evaluation = evaluated(policy, rollout)
    acted = decided(rollout, "log_probs")
    assert acted.isfinite().all()
    assert (acted < -0.5).any()
    ratio = (evaluation.log_probs - acted).sum(-1).exp()
    assert (ratio - 1).abs().max() < 1e-5
    assert_close(evaluation.q_values, decided(rollout, "q_values"))
    assert_close(evaluation.value, decided(rollout, "value"))
    last = rollout[-1][2].state
    for after, acted_after in zip(evaluation.state, last, strict=True):
        assert_close(after, acted_after)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_ratio_is_one_on_every_device(policy, spec, gardens, rolled, device):
    policy.to(device)
    beds = [gardens(spec, environment=index) for index in range(ENVIRONMENTS)]
    rollout = list(rolled(policy, beds, STEPS, torch.Generator().manual_seed(7)))
    evaluation = evaluated(policy, rollout, first_step_starts().to(device))
    acted = decided(rollout, "log_probs")
    assert acted.device.type == device
    assert_close(evaluation.log_probs, acted, atol=1e-5, rtol=0)


def test_ratio_stays_one_when_a_chunk_starts_in_the_middle(policy, rollout):
    half = STEPS // 2
    later = rollout[half:]
    starts = torch.zeros(STEPS - half, ENVIRONMENTS, dtype=torch.bool)
    actions = decided(later, "actions")
    evaluation = policy.evaluate(stacked(later), actions, later[0][1], starts)
    assert_close(evaluation.log_probs, decided(later, "log_probs"), atol=1e-5, rtol=0)


def test_the_log_probability_of_an_action_is_that_of_its_probabilities(rollout):
    for _, _, decision in rollout:
        for column, name in enumerate(HEADS):
            chosen = decision.actions[:, column : column + 1]
            probability = decision.probabilities[name].gather(1, chosen).squeeze(1)
            assert_close(decision.log_probs[:, column], probability.log())


def test_irrelevant_heads_are_canonical_and_add_nothing(policy, rollout):
    actions = decided(rollout, "actions")
    acted = decided(rollout, "log_probs")
    evaluation = evaluated(policy, rollout)
    ops = set()
    for op in Op:
        where = actions[..., 0] == op
        ops.add(op) if where.any() else None
        for column, name in enumerate(HEADS):
            if name not in RELEVANT_HEADS[op]:
                assert (actions[where][:, column] == 0).all()
                assert (acted[where][:, column] == 0).all()
                assert (evaluation.log_probs[where][:, column] == 0).all()
                assert (evaluation.entropies[where][:, column] == 0).all()
                assert not evaluation.choosable[where][:, column].any()
    assert len(ops) >= 4


def test_log_distributions_are_those_that_were_acted_on(policy, rollout):
    evaluation = evaluated(policy, rollout)
    found = evaluation.log_distributions
    assert not found.requires_grad
    actions = decided(rollout, "actions").unsqueeze(-1)
    taken = found.gather(-1, actions).squeeze(-1)
    assert torch.equal(taken, evaluation.log_probs.detach())
    for step, (_, _, decision) in enumerate(rollout):
        for head, probabilities in decision.probabilities.items():
            row = found[step, :, HEADS.index(head)].exp()
            size = probabilities.shape[-1]
            assert_close(row[:, :size], probabilities, msg=head)
            assert not row[:, size:].any()


def test_choosable_is_relevance_and_two_open_choices(policy, rollout):
    evaluation = evaluated(policy, rollout)
    observation, actions = stacked(rollout), decided(rollout, "actions")
    for t in range(STEPS):
        for n in range(ENVIRONMENTS):
            op = Op(int(actions[t, n, 0]))
            for column, name in enumerate(HEADS):
                mask = observation.masks[name][t, n]
                mask = mask[op] if name == "slot" else mask
                expected = name in RELEVANT_HEADS[op] and int(mask.sum()) >= 2
                assert evaluation.choosable[t, n, column] == expected


def test_floors_hold_when_sampling(policy, rollout):
    floors = PolicyConfig().floors
    for observation, _, decision in rollout:
        mask = observation.masks["op"]
        least = floors["op"] / mask.sum(-1, keepdim=True).expand_as(mask)[mask]
        assert (decision.probabilities["op"][mask] >= least * 0.9999).all()
        assert (decision.probabilities["op"][~mask] == 0).all()


def test_value_is_the_expectation_of_q_with_gradient_in_the_critic_only(policy, rollout):
    for _, _, decision in rollout:
        expected = (decision.probabilities["op"] * decision.q_values).sum(-1)
        assert_close(decision.value, expected)
    evaluated(policy, rollout).value.sum().backward()
    assert policy.policy.op_hidden.weight.grad is None
    assert policy.critic.output.weight.grad.abs().sum() > 0


def test_the_critic_is_conditioned_on_the_op(rollout):
    assert (rollout[0][2].q_values.std(-1) > 1e-3).all()


def test_the_ablated_critic_values_every_op_alike(specs, policies, rich):
    spec = specs()
    policy = policies(spec, critic="v")
    decision = policy.act(
        policy.encode([rich(spec)]), policy.initial_state(1), generator=torch.Generator()
    )
    assert (decision.q_values == decision.q_values[:, :1]).all()
    assert_close(decision.value, decision.q_values[:, 0])


def test_an_unknown_critic_is_refused_by_name(specs, policies):
    with pytest.raises(TamiyoError, match="unknown critic 'w'; allowed: q, v"):
        policies(specs(), critic="w")


@pytest.mark.parametrize("order", [[3, 1, 0, 2], [1, 0, 3, 2]])
def test_permuting_environments_permutes_results(policy, rollout, order):
    order = torch.tensor(order)
    observation, state, _ = rollout[5]
    generator = torch.Generator()
    plain = policy.act(observation, state, generator=generator, greedy=True)
    mixed = policy.act(
        permuted(observation, order, 0),
        tuple(part[order] for part in state),
        generator=generator,
        greedy=True,
    )
    assert torch.equal(mixed.actions, plain.actions[order])
    assert_close(mixed.log_probs, plain.log_probs[order])
    assert_close(mixed.value, plain.value[order])
    whole = evaluated(policy, rollout)
    part = policy.evaluate(
        permuted(stacked(rollout), order, 1),
        decided(rollout, "actions")[:, order],
        policy.initial_state(ENVIRONMENTS),
        first_step_starts(),
    )
    assert_close(part.log_probs, whole.log_probs[:, order])
    assert_close(part.entropies, whole.entropies[:, order])
    assert_close(part.value, whole.value[:, order])


def test_a_sample_follows_its_generator(policy, rollout):
    observation, state, _ = rollout[2]
    first, second = (
        policy.act(observation, state, generator=torch.Generator().manual_seed(4)).actions
        for _ in range(2)
    )
    assert torch.equal(first, second)
    drawn = torch.Generator().manual_seed(4)
    many = [policy.act(observation, state, generator=drawn).actions for _ in range(20)]
    assert any(not torch.equal(first, other) for other in many)


def test_greedy_takes_the_most_probable_and_draws_nothing(policy, rollout):
    observation, state, _ = rollout[2]
    generator = torch.Generator().manual_seed(4)
    before = generator.get_state()
    decision = policy.act(observation, state, generator=generator, greedy=True)
    assert torch.equal(generator.get_state(), before)
    for column, name in enumerate(HEADS):
        assert torch.equal(decision.actions[:, column], decision.probabilities[name].argmax(-1))


def test_acting_records_no_gradient(rollout):
    decision = rollout[0][2]
    tensors = (decision.log_probs, decision.q_values, decision.value, *decision.state)
    assert not any(tensor.requires_grad for tensor in tensors)


def test_the_state_of_the_lstm_changes_the_values(policy, rollout):
    observation, state, decision = rollout[6]
    fresh = policy.act(
        observation, policy.initial_state(ENVIRONMENTS), generator=torch.Generator(), greedy=True
    )
    assert (fresh.q_values - decision.q_values).abs().max() > 1e-3
    assert state[0].abs().sum() > 0


def test_a_start_is_a_fresh_state(policy, rollout):
    starts = first_step_starts()
    starts[5, 1] = starts[11, 1] = starts[11, 3] = True
    evaluation = evaluated(policy, rollout, starts)
    whole = evaluated(policy, rollout)
    for column in (0, 2):
        assert_close(evaluation.log_probs[:, column], whole.log_probs[:, column], atol=1e-5, rtol=0)
    assert (evaluation.value[5:, 1] - whole.value[5:, 1]).abs().max() > 1e-4
    piece = rollout[5:11]
    alone = policy.evaluate(
        stacked(piece),
        decided(piece, "actions"),
        policy.initial_state(ENVIRONMENTS),
        torch.zeros(6, ENVIRONMENTS, dtype=torch.bool),
    )
    assert_close(evaluation.value[5:11, 1], alone.value[:, 1])


def test_a_start_ignores_the_given_state(policy, rollout):
    junk = tuple(torch.randn(ENVIRONMENTS, 32) for _ in range(2))
    arguments = stacked(rollout), decided(rollout, "actions")
    one = policy.evaluate(*arguments, junk, first_step_starts())
    assert_close(one.value, evaluated(policy, rollout).value)


def test_masked_choices_get_exactly_no_gradient(policy, rollout, spec):
    evaluation = evaluated(policy, rollout)
    (evaluation.log_probs.sum() + evaluation.entropies.sum()).backward()
    heads = policy.policy.heads
    allowed = [BUILT_IN_BLUEPRINTS.index(name) for name in spec.blueprints]
    closed = [index for index in range(len(BUILT_IN_BLUEPRINTS)) if index not in allowed]
    assert (heads["blueprint"].weight.grad[closed] == 0).all()
    assert heads["blueprint"].weight.grad[allowed].abs().sum() > 0
    assert (heads["style"].weight.grad[[1, 3]] == 0).all()
    assert heads["style"].weight.grad[[0, 2]].abs().sum() > 0
    for parameter in policy.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_a_head_that_the_op_does_not_use_has_no_gradient(policy, rollout):
    evaluation = evaluated(policy, rollout)
    waits = decided(rollout, "actions")[..., 0] == Op.WAIT
    (evaluation.log_probs[waits].sum() + evaluation.entropies[waits].sum()).backward()
    for name, head in policy.policy.heads.items():
        if name != "op":
            assert (head.weight.grad == 0).all(), name
    assert policy.policy.heads["op"].weight.grad.abs().sum() > 0


def test_arguments_depend_on_the_op_by_more_than_a_shift(policy):
    torch.manual_seed(3)
    memory = torch.randn(2, 32)
    masks = {
        name: torch.ones(2, size, dtype=torch.bool)
        for name, size in head_sizes(3).items()
        if name not in ("op", "slot")
    }
    masks["slot"] = torch.ones(2, len(Op), 3, dtype=torch.bool)
    logs = [
        policy.policy.arguments(memory, torch.full((2,), op), masks).finite_logs[:, 0, :3]
        for op in (Op.PRUNE, Op.FOSSILIZE)
    ]
    difference = logs[0] - logs[1]
    difference = difference - difference.mean(-1, keepdim=True)
    assert (difference[0] - difference[1]).abs().max() > 1e-3


def test_padding_with_nothing_open_stays_finite(policy, rollout):
    observation, actions = stacked(rollout), decided(rollout, "actions")
    observation.features[10:] = 0
    actions[10:] = 0
    for name in observation.masks:
        observation.masks[name][10:] = False
    evaluation = policy.evaluate(
        observation, actions, policy.initial_state(ENVIRONMENTS), first_step_starts()
    )
    assert (evaluation.log_probs[10:] == 0).all()
    assert (evaluation.entropies[10:] == 0).all()
    (evaluation.log_probs.sum() + evaluation.entropies.sum()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in policy.parameters())


def test_the_normalizer_changes_in_its_update_only(policy, rollout):
    before = copy.deepcopy(policy.normalizer.state_dict())
    evaluated(policy, rollout)
    policy.act(rollout[0][0], rollout[0][1], generator=torch.Generator())
    for name, value in policy.normalizer.state_dict().items():
        assert torch.equal(value, before[name])
    valid = torch.ones(STEPS, ENVIRONMENTS, dtype=torch.bool)
    policy.update_normalizer(stacked(rollout), valid)
    assert policy.normalizer.count.max() == (STEPS - 1) * ENVIRONMENTS


def test_a_loaded_policy_decides_as_the_saved_one(policy, policies, spec, rollout):
    policy.update_normalizer(stacked(rollout), torch.ones(STEPS, ENVIRONMENTS, dtype=torch.bool))
    other = policies(spec)
    other.load_state_dict(policy.state_dict())
    assert torch.equal(evaluated(other, rollout).value, evaluated(policy, rollout).value)


def test_initial_forget_gates_are_open_and_recurrent_weights_orthogonal(policies, spec):
    lstm = policies(spec).trunk.lstm
    assert (lstm.bias_ih_l0[32:64] + lstm.bias_hh_l0[32:64] == 1).all()
    assert lstm.bias_ih_l0.sum() == 32
    for gate in lstm.weight_hh_l0.detach().split(32):
        assert_close(gate @ gate.T, torch.eye(32), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_evaluation_agrees_and_is_not_recompiled(policy, spec, rollout):
    from torch._dynamo.utils import counters

    keys = list(policy.state_dict())
    observation = stacked(rollout)
    actions = torch.stack([decision.actions for _, _, decision in rollout])
    starts = torch.zeros(STEPS, ENVIRONMENTS, dtype=torch.bool)
    starts[0] = True

    def evaluated(steps):
        part = Observation(
            features=observation.features[:steps],
            blueprints=observation.blueprints[:steps],
            masks={name: mask[:steps] for name, mask in observation.masks.items()},
        )
        state = policy.initial_state(ENVIRONMENTS)
        result = policy.evaluate(part, actions[:steps], state, starts[:steps])
        policy.zero_grad()
        (result.log_probs.mean() + result.q_values.square().mean()).backward()
        gradients = [p.grad.clone() for p in policy.parameters() if p.grad is not None]
        return result, gradients

    eager, eager_gradients = evaluated(STEPS)
    counters.clear()
    policy.compile_evaluation()
    compiled, gradients = evaluated(STEPS)
    for name in ("log_probs", "entropies", "q_values", "value"):
        assert_close(getattr(compiled, name), getattr(eager, name), msg=name)
    assert torch.equal(compiled.choosable, eager.choosable)
    for one, other in zip(gradients, eager_gradients, strict=True):
        assert_close(one, other)
    evaluated(STEPS - 1)  # a round evaluates two lengths: its steps, and one row more
    first_round = counters["stats"]["unique_graphs"]
    for steps in (STEPS, STEPS - 1, 9, 8, 7):
        evaluated(steps)
    assert counters["stats"]["unique_graphs"] == first_round
    assert list(policy.state_dict()) == keys
