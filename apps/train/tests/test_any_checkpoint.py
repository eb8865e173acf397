"""Any bytes in a checkpoint file give one line, also where their checksum is right."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esper_leyline import CheckpointManifest
from esper_train.checkpoints.files import load_checkpoint, pack
from esper_train.checkpoints.trees import split_tensors
from esper_train.errors import TrainError


def sealed(content: bytes) -> bytes:
    """Returns a file of any content with a right checksum in place of zeros."""
    return content.replace(b"0" * 64, hashlib.sha256(content).hexdigest().encode())


def reads_or_complains(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(TrainError) as complaint:
        load_checkpoint(path)
    assert "\n" not in str(complaint.value)


@settings(deadline=None)
@given(content=st.binary(max_size=400))
def test_any_bytes_give_one_line(content, tmp_path_factory):
    reads_or_complains(tmp_path_factory.getbasetemp() / "any", content)


@settings(deadline=None)
@given(header=st.text(max_size=200), rest=st.binary(max_size=50))
def test_any_header_with_a_right_checksum_gives_one_line(header, rest, tmp_path_factory):
    text = ('{"__metadata__":{"sha256":"' + "0" * 64 + '"},' + header).encode(errors="replace")
    content = len(text).to_bytes(8, "little") + text + rest
    reads_or_complains(tmp_path_factory.getbasetemp() / "any", sealed(content))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=10), each, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(state=_JSON, part=st.sampled_from(["policy", "ppo", "rounds", "state"]))
def test_any_state_with_a_right_checksum_gives_one_line(
    state, part, tmp_path_factory, sound_checkpoint, small_config
):
    manifest, whole = sound_checkpoint(small_config())
    tree, tensors = split_tensors(state if part == "state" else {**whole, part: state})
    content = pack(manifest.model_dump_json(), json.dumps(tree), tensors)
    reads_or_complains(tmp_path_factory.getbasetemp() / "any", content)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(manifest=_JSON, key=st.sampled_from([*CheckpointManifest.model_fields, "manifest"]))
def test_any_manifest_with_a_right_checksum_gives_one_line(
    manifest, key, tmp_path_factory, sound_checkpoint, small_config
):
    sound, state = sound_checkpoint(small_config())
    usual = json.loads(sound.model_dump_json())
    tree, tensors = split_tensors(state)
    changed = manifest if key == "manifest" else {**usual, key: manifest}
    if key in {"run_id", "torch_version", "group"}:
        changed = [changed]  # others of these are as good
    content = pack(json.dumps(changed), json.dumps(tree), tensors)
    reads_or_complains(tmp_path_factory.getbasetemp() / "any", content)
