"""What a PPO update and a decision cost. Run by hand:

    uv run python tests/benchmarks/ppo_update.py [PAIRS]

One update over 4 environments of 150 steps, LSTM 512, 4 epochs, one batch, as a ratio to what
sb3-contrib and TorchRL take for as much, A B A B in one process, median (quartiles). These get a
network of the same size and a rollout whose advantages are already there; Esper's time includes
values of the rollout, advantages, statistics and metrics.

sb3-contrib is timed twice: as it learns, with an episode starting at a rollout's first step, which
sends it through a Python loop over the steps; and with no start marked, its fast path.

Then what one decision for 4 environments takes, and how an update grows from 4 to 64 environments.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from abba_timing import compare
from baselines import sb3_update, torchrl_update

from esper_leyline import (
    BlendStyle,
    Blueprint,
    EnvironmentSpec,
    EpisodeEnd,
    Op,
    PolicyConfig,
    PPOConfig,
    SeedReport,
    SeedStage,
    StepReport,
    Topology,
)
from esper_simic import PPO, Rollout
from esper_tamiyo import RecurrentPolicy

STEPS, EPOCHS, SIZE = 150, 4, 512
SLOTS = ("r0c0", "r0c1", "r0c2")
STAGES = (SeedStage.DORMANT, SeedStage.TRAINING, SeedStage.BLENDING, SeedStage.HOLDING)


def spec(environments: int) -> EnvironmentSpec:
    return EnvironmentSpec(
        environments=environments,
        max_epochs=STEPS,
        slots=SLOTS,
        topology=Topology.CNN,
        blueprints=(Blueprint.NORM, Blueprint.CONV_LIGHT, Blueprint.DEPTHWISE),
        styles=tuple(BlendStyle),
        host_parameters=6_418,
    )


def report(environment: int, epoch: int) -> StepReport:
    """One host in the middle of its life, some ops open in every slot."""
    noise = ((environment * 7919 + epoch * 104729) % 1000) / 1000
    seeds = tuple(
        SeedReport(
            slot=slot,
            stage=STAGES[(epoch // 10 + index + environment) % len(STAGES)],
            permitted=tuple(Op)[1:],
            blueprint=Blueprint.NORM,
            alpha=noise,
            contribution=10 * noise - 5,
            gradient_norm=noise,
            gradient_health=noise,
        )
        for index, slot in enumerate(SLOTS)
    )
    return StepReport(
        environment=environment,
        rng_seed=environment,
        epoch=epoch,
        max_epochs=STEPS,
        seeds=seeds,
        host_parameters=6_418,
        val_loss=2.3 - noise,
        val_accuracy=40 + 20 * noise,
        history=((2.3 - noise, 40 + 20 * noise),) * 5,
        ended=EpisodeEnd.HORIZON if epoch == STEPS else None,
    )


def reports(environments: int, epoch: int) -> list[StepReport]:
    return [report(index, epoch) for index in range(environments)]


def policy_for(environments: int) -> RecurrentPolicy:
    torch.manual_seed(0)
    return RecurrentPolicy(spec(environments), PolicyConfig(feature_size=SIZE, memory_size=SIZE))


def play(policy: RecurrentPolicy, environments: int) -> Rollout:
    """Whole episodes that the policy acted in."""
    ppo, random = PPO(policy, PPOConfig()), torch.Generator().manual_seed(1)
    ppo.reset(environments, rng_seed=1)
    observation = policy.encode(reports(environments, 0))
    for epoch in range(1, STEPS + 1):
        ppo.act(observation)
        observation = policy.encode(reports(environments, epoch))
        ppo.observe(
            torch.randn(environments, generator=random).tolist(),
            observation,
            valid=[True] * environments,
            terminated=[False] * environments,
            truncated=[epoch == STEPS] * environments,
        )
    return ppo.rollout()


def esper_update(environments: int) -> Callable[[], object]:
    policy = policy_for(environments)
    rollout = play(policy, environments)
    # A fixed learning rate.
    ppo = PPO(policy, PPOConfig(epochs=EPOCHS, target_kl=None))
    return lambda: ppo.update(rollout, round_number=1)


def against_baselines(pairs: int) -> None:
    print(f"update, 4 environments x {STEPS} steps, LSTM {SIZE}, {EPOCHS} epochs", flush=True)
    baselines = {
        "sb3-contrib, as it learns": sb3_update(4, STEPS, EPOCHS, SIZE, starts=True),
        "sb3-contrib, no start marked": sb3_update(4, STEPS, EPOCHS, SIZE, starts=False),
        "TorchRL": torchrl_update(4, STEPS, EPOCHS, SIZE),
    }
    for name, baseline in baselines.items():
        ratio = compare(esper_update(4), baseline, pairs=pairs, repeats=1)
        ours, theirs = ratio.seconds
        print(f"  esper / {name:<30} {ratio}   {ours:.3f} s against {theirs:.3f} s", flush=True)


def median_ms(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return 1e3 * statistics.median(seconds)


def decisions() -> None:
    policy, random = policy_for(4), torch.Generator().manual_seed(1)
    batch, state = reports(4, 50), policy.initial_state(4)
    observation = policy.encode(batch)
    encoding = median_ms(lambda: policy.encode(batch), 300)
    acting = median_ms(lambda: policy.act(observation, state, generator=random), 300)
    print(f"encoding and masks, 4 environments    {encoding:.2f} ms   bar 0.5")
    print(f"inference, 4 environments             {acting:.2f} ms   bar 2", flush=True)


def growth(rounds: int) -> None:
    """Times each number of environments in turn, so that all meet the same machine."""
    sizes = (4, 8, 16, 32, 64)
    updates = {size: esper_update(size) for size in sizes}
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for _ in range(rounds):
        for size, update in updates.items():
            seconds[size].append(median_ms(update, 1) / 1e3)
    medians = {size: statistics.median(each) for size, each in seconds.items()}
    for size in sizes:
        print(
            f"update, {size:>2} environments   {medians[size]:.2f} s, "
            f"{medians[size] / medians[4] / (size / 4):.2f} of linear, {memory(size)}",
            flush=True,
        )


def memory(environments: int) -> str:
    """Makes one update in a process of its own and returns what it printed."""
    command = [sys.executable, __file__, "--memory", str(environments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def print_memory(environments: int) -> None:
    update = esper_update(environments)
    before = peak_mb()
    update()
    print(f"peak {before:.0f} MB before it, {peak_mb():.0f} MB after it")


def peak_mb() -> float:
    """Returns the most memory that this process ever held."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1e3


if __name__ == "__main__":
    torch.set_num_threads(1)
    if "--memory" in sys.argv:
        print_memory(int(sys.argv[-1]))
    else:
        count = int(sys.argv[1]) if len(sys.argv) > 1 else 15
        print(f"torch {torch.__version__}, one thread, {count} pairs; median (quartiles)")
        against_baselines(count)
        decisions()
        growth(max(3, count // 3))
