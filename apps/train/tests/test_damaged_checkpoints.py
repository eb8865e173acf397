"""Checkpoints that are damaged or of another making: one line, exit code 2, nothing created."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from esper_leyline import CheckpointManifest
from esper_tamiyo import RecurrentPolicy
from esper_tolaria import make_setup
from esper_train import main
from esper_train.checkpoints.contents import check_state
from esper_train.checkpoints.files import load_checkpoint, pack, save_checkpoint
from esper_train.checkpoints.trees import split_tensors
from esper_train.errors import TrainError


@pytest.fixture(scope="module")
def sound(tmp_path_factory, sound_checkpoint, small_config) -> Path:
    path = tmp_path_factory.mktemp("sound") / "policy.safetensors"
    save_checkpoint(path, *sound_checkpoint(small_config()))
    return path


def complaints(path: Path, capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """What both commands that read checkpoints say of one; nothing else may happen."""
    runs, out = folder / "runs", folder / "out"
    said = []
    for arguments in (
        ["ppo", "--resume", str(path), "--rounds", "3", "--runs", str(runs)],
        ["evaluate", "--arms", "static", str(path), "--out", str(out)],
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1, captured.err
        said.append(captured.err)
    assert not runs.exists()
    assert not out.exists()
    assert said[0] == said[1]
    return said[0]


def test_a_sound_checkpoint_is_loaded_and_read_by_safetensors_alone(sound):
    manifest, state = load_checkpoint(sound)
    assert manifest.rounds_completed == 1
    assert set(state) == {"policy", "ppo", "rounds"}
    with safe_open(sound, framework="pt") as file:
        assert json.loads(file.metadata()["manifest"])["rounds_completed"] == 1
        assert torch.equal(file.get_tensor(f"policy.{BIAS}"), state["policy"][BIAS])


def test_a_state_is_read_bit_for_bit(tmp_path, sound_checkpoint, small_config):
    manifest, state = sound_checkpoint(small_config())
    state["ppo"]["values"]["mean"] = 0.1 + 0.2
    state["policy"][BIAS] = torch.tensor([1e-45, -0.0, 0.1, 3e38, 1 / 3, -1.0])
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, manifest, state)
    _, read = load_checkpoint(path)
    assert split_tensors(read)[0] == split_tensors(state)[0]
    for name, tensor in split_tensors(state)[1].items():
        found = split_tensors(read)[1][name]
        assert found.dtype == tensor.dtype
        assert found.numpy().tobytes() == tensor.numpy().tobytes()


def test_one_bit_flipped_anywhere_is_noticed(sound, tmp_path):
    content = bytearray(sound.read_bytes())
    step = len(content) // 200
    places = [*range(0, len(content), step), *range(len(content) - 120, len(content))]
    path = tmp_path / "flipped.safetensors"
    for number, place in enumerate(places):
        bit = 1 << (number % 8)
        content[place] ^= bit
        path.write_bytes(content)
        with pytest.raises(TrainError, match=r"flipped\.safetensors' (is|has)"):
            load_checkpoint(path)
        content[place] ^= bit
    assert len(places) > 300


@pytest.mark.parametrize("kept", [0, 1, 100, -100, -1])
def test_a_part_of_a_checkpoint_is_refused(sound, tmp_path, kept, capsys):
    path = tmp_path / "part.safetensors"
    path.write_bytes(sound.read_bytes()[:kept])
    assert str(path) in complaints(path, capsys, tmp_path)


def test_bytes_after_the_end_are_refused(sound, tmp_path, capsys):
    path = tmp_path / "longer.safetensors"
    path.write_bytes(sound.read_bytes() + b"\0")
    assert "its checksum differs" in complaints(path, capsys, tmp_path)


def test_a_file_without_a_checksum_is_no_checkpoint(tmp_path, capsys):
    path = tmp_path / "other.safetensors"
    path.write_bytes(save({"weight": torch.zeros(2)}))
    assert "has no checksum" in complaints(path, capsys, tmp_path)


def test_a_file_of_an_earlier_version_says_what_to_do(tmp_path, capsys):
    path = tmp_path / "old.pt"
    torch.save({"manifest": "{}", "state": {}}, path)
    said = complaints(path, capsys, tmp_path)
    assert "before checkpoint version 6" in said
    assert "use the esper-train that wrote it, or train again" in said


Change = Callable[[dict[str, Any], dict[str, Any]], object]


def put(*path: str | int, value: Any) -> Change:
    """Replaces one part of the state."""

    def change(_: dict[str, Any], state: Any) -> None:
        *ahead, last = path
        for key in ahead:
            state = state[key]
        state[last] = value

    return change


def drop(*path: str) -> Change:
    """Removes one part of the state."""

    def change(_: dict[str, Any], state: Any) -> None:
        *ahead, last = path
        for key in ahead:
            state = state[key]
        del state[last]

    return change


def say(**values: Any) -> Change:
    """Changes the manifest."""
    return lambda manifest, _: manifest.update(values)


BIAS = "critic.output.bias"
OPTIMIZER = ("ppo", "optimizer")
VARIANTS: dict[str, tuple[Change, str]] = {
    "no policy": (drop("policy"), "'policy' is missing"),
    "no learner": (drop("ppo"), "'ppo' is missing"),
    "no rounds": (drop("rounds"), "'rounds' is missing"),
    "a part too many": (put("extra", value=1), "'extra' does not belong there"),
    "no weights of one layer": (drop("policy", BIAS), f"'policy.{BIAS}' is missing"),
    "weights of no layer": (put("policy", "x", value=torch.zeros(1)), "'policy.x' does not"),
    "another shape": (put("policy", BIAS, value=torch.zeros(7)), "has shape [7], not [6]"),
    "another type": (put("policy", BIAS, value=torch.zeros(6).double()), "torch.float64, not"),
    "a number for a tensor": (put("policy", BIAS, value=0.5), "of type float, not a tensor"),
    "weights that are NaN": (
        put("policy", BIAS, value=torch.full((6,), torch.nan)),
        "a number that is not finite",
    ),
    "a policy that is a list": (put("policy", value=[]), "'policy' is of type list, not a dict"),
    "too few moments": (put(*OPTIMIZER, "means", value=[]), "'ppo.optimizer.means' has 0"),
    "moments that are no list": (put(*OPTIMIZER, "means", value=1), "of type int, not a list"),
    "moments of another shape": (
        put(*OPTIMIZER, "squares", 0, value=torch.zeros(1)),
        "'ppo.optimizer.squares[0]' has shape [1]",
    ),
    "negative squares": (
        lambda _, state: state["ppo"]["optimizer"]["squares"][0].fill_(-1.0),
        "'ppo.optimizer.squares[0]' has a negative number",
    ),
    "a text for a number": (put("ppo", "episodes", value="2"), "of type str, not of type int"),
    "a negative count": (put("ppo", "episodes", value=-1), "is -1, which is negative"),
    "infinite returns": (put("ppo", "values", "mean", value=float("inf")), "contains Infinity"),
    "negative spread": (put("ppo", "values", "squares", value=-1.0), "which is negative"),
    "negative rate": (put("ppo", "rate_scale", value=-0.5), "is -0.5, which is negative"),
    "rounds that are no list": (put("rounds", value={}), "not a list"),
    "fewer rounds than it says": (put("rounds", value=[]), "it has 0 rounds, and its manifest 1"),
    "a round that is none": (put("rounds", 0, value={"round": 1}), "its round 1 is unusable"),
    "a round out of order": (
        lambda _, state: state["rounds"][0].update(round=4),
        "its round 1 says that it is round 4",
    ),
    "a manifest of another task": (say(task="digits"), "its manifest has task 'digits'"),
    "a manifest of other slots": (say(slots=["r0c0"]), "its manifest has slots ('r0c0',)"),
    "another observation": (say(observation_size=5), "observation_size 5"),
    "another policy": (say(policy_parameters=5), "policy_parameters 5"),
    "another version": (say(checkpoint_version=1), "has version 1; this esper-train reads"),
    "a later version": (say(checkpoint_version=99, new=1), "has version 99; this esper-train"),
    "an unknown key": (say(new=1), "its manifest: unknown key 'new'"),
    "a run that is no name": (say(run_id=7), "its manifest: 'run_id'"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_parts_of_different_runs_are_refused(
    name, tmp_path, capsys, sound_checkpoint, small_config
):
    change, expected = VARIANTS[name]
    manifest, state = sound_checkpoint(small_config())
    said = manifest.model_dump(mode="json")
    change(said, state)
    path = tmp_path / "policy.safetensors"
    write(path, said, state)
    message = complaints(path, capsys, tmp_path)
    assert expected in message
    assert str(path) in message


def write(path: Path, manifest: Any, state: Any) -> None:
    """Writes a file with a right checksum, whatever is in it."""
    tree, tensors = split_tensors(state)
    path.write_bytes(pack(json.dumps(manifest), json.dumps(tree), tensors))


WEIGHT = {"weight": torch.zeros(2)}


@pytest.mark.parametrize(
    ("manifest", "state", "expected"),
    [
        ("[" * 5000, "{}", "nested more than"),
        ("{", "{}", "is not JSON"),
        ("[]", "{}", "has version None"),
    ],
)
def test_unusable_texts_are_refused(manifest, state, expected, tmp_path, capsys):
    path = tmp_path / "other.safetensors"
    path.write_bytes(pack(manifest, state, {}))
    assert expected in complaints(path, capsys, tmp_path)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("[1, ", "its state is not JSON"),
        ('{"a": NaN}', "its state contains NaN"),
        ('{"a": {"tensor": "b"}}', "its tensor 'b' is missing"),
        ("{}", "does not name its tensor 'weight'"),
    ],
)
def test_unusable_states_are_refused(state, expected, tmp_path, sound_checkpoint, small_config):
    manifest, _ = sound_checkpoint(small_config())
    path = tmp_path / "other.safetensors"
    path.write_bytes(pack(manifest.model_dump_json(), state, WEIGHT))
    with pytest.raises(TrainError, match=expected):
        load_checkpoint(path)


def test_other_metadata_is_refused(tmp_path, capsys):
    path = tmp_path / "other.safetensors"
    digits = "0" * 64
    for metadata in (
        {"sha256": digits},
        {"manifest": "", "state": "", "more": "", "sha256": digits},
    ):
        path.write_bytes(sealed(save(WEIGHT, metadata)))
        assert "is not a checkpoint of esper-train" in complaints(path, capsys, tmp_path)


def sealed(content: bytes) -> bytes:
    """Returns a file of any content with a right checksum in place of zeros."""
    return content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode())


def test_a_state_that_is_not_a_dict(tmp_path, capsys, sound_checkpoint, small_config):
    manifest, _ = sound_checkpoint(small_config())
    path = tmp_path / "other.safetensors"
    write(path, manifest.model_dump(mode="json"), [1])
    assert "its state is not a dict" in complaints(path, capsys, tmp_path)


class Code:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_no_code_of_a_file_is_run(tmp_path, capsys):
    path, proof = tmp_path / "code.safetensors", tmp_path / "proof"
    code = Code(f"touch {proof}")
    torch.save({"manifest": "{}", "state": code}, path, pickle_module=pickle)
    assert "never loads, because it may hold code" in complaints(path, capsys, tmp_path)
    path.write_bytes(pickle.dumps(code))
    assert "is not a checkpoint" in complaints(path, capsys, tmp_path)
    assert not proof.exists()


def test_checking_where_to_save_leaves_nothing_behind(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [
        "ppo",
        "--save",
        "new/policy.safetensors",
        "--device",
        "cpu",
        "--data-root",
        "nowhere",
    ]
    assert main([*arguments, "--preset", "mnist1d_blind", "--runs", "/proc/runs"]) == 2
    capsys.readouterr()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_given_as_an_arm_is_not_searched_deeply(tmp_path, capsys):
    deep = tmp_path / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "policy.safetensors").write_text("")
    assert main(["evaluate", "--arms", str(tmp_path)]) == 2
    assert "such as" not in capsys.readouterr().err
    run = tmp_path / "run" / "checkpoints"
    run.mkdir(parents=True)
    (run / "round-00001.safetensors").write_text("")
    assert main(["evaluate", "--arms", str(tmp_path)]) == 2
    assert f"such as {run / 'round-00001.safetensors'}" in capsys.readouterr().err


def test_a_manifest_is_written_as_it_is_read(tmp_path, sound_checkpoint, small_config):
    manifest, state = sound_checkpoint(small_config())
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, manifest, state)
    assert load_checkpoint(path)[0] == manifest
    assert CheckpointManifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_a_check_builds_the_policy_once(sound_checkpoint, small_config, monkeypatch) -> None:
    built = []

    class Counted(RecurrentPolicy):
        def __init__(self, *arguments, **options) -> None:
            built.append(self)
            super().__init__(*arguments, **options)

    manifest, state = sound_checkpoint(small_config())
    monkeypatch.setattr("esper_train.checkpoints.contents.RecurrentPolicy", Counted)
    monkeypatch.setattr(
        "esper_train.checkpoints.contents.make_setup",
        lambda *given: built.append(given) or make_setup(*given),
    )
    _, checked = check_state(manifest, state)
    assert checked.keys() == state.keys()
    assert len(built) == 2  # one setup, one policy
