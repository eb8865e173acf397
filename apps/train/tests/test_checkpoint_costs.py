"""What writing and reading a checkpoint of the 512/512 policy costs, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from esper_train.checkpoints.files import save_checkpoint

SCRIPT = """
import json, sys, time
from pathlib import Path
from esper_train.checkpoints.files import load_checkpoint, save_checkpoint

def measured(call):
    begin = time.process_time()
    result = call()
    return time.process_time() - begin, result

path = Path(sys.argv[1])
reads = [measured(lambda: load_checkpoint(path)) for _ in range(4)]
loaded = sorted({"torch._dynamo", "torch._inductor", "sympy"} & set(sys.modules))
_, (manifest, state) = reads[0]
writes = [measured(lambda: save_checkpoint(path, manifest, state))[0] for _ in range(4)]
print(json.dumps([reads[0][0], min(seconds for seconds, _ in reads), min(writes), loaded]))
"""


@pytest.mark.slow
def test_a_large_checkpoint_is_read_in_the_time_of_writing_it_and_without_torch_s_compiler(
    tmp_path, sound_checkpoint, small_config
):
    """CPU seconds. Importing the compiler takes ten times as long as all the rest."""
    sizes = {"feature_size": 512, "memory_size": 512}
    path = tmp_path / "policy.safetensors"
    save_checkpoint(path, *sound_checkpoint(small_config(n_envs=4, policy=sizes)))
    assert path.stat().st_size > 30_000_000
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=True
    )
    first, read, write, loaded = json.loads(done.stdout)
    assert loaded == []
    assert write < 0.5
    assert read < 0.5 + write
    assert first < 1.5 + write
