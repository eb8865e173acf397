"""Whether a run compiles its policy's update, and whether this machine can."""

from __future__ import annotations

from esper_leyline.config.training import CompileConfig
from esper_train.errors import TrainError


def choose_compilation(wanted: CompileConfig, device: str) -> tuple[str | None, str | None]:
    """Returns the mode of ``torch.compile``, or ``None`` for none, and a note on it.

    The default compiles on a GPU. On a CPU compiling takes most of a minute and was measured to
    gain nothing, so only an explicit mode or ``force`` compiles there.

    Raises:
        TrainError: If compiling is forced and switched off, or there is no compiler.
    """
    if wanted.mode == "off":
        if wanted.force:
            raise TrainError("--force-compile contradicts --compile-mode off; leave one out")
        return None, None
    on_cpu = device == "cpu"
    if on_cpu and wanted.mode == "default" and not wanted.force:
        return None, "compile: nothing, the default on a CPU; --force-compile compiles all the same"
    if on_cpu:
        _check_compiler()
    return wanted.mode, f"compile: the policy's update, mode {wanted.mode}"


def _check_compiler() -> None:
    # Imported here only: torch's compiler takes seconds to import.
    from esper_train._torch import find_cpp_compiler

    if find_cpp_compiler() is None:
        raise TrainError(
            "torch.compile needs a C++ compiler on a CPU and found none; install g++, "
            "or use --compile-mode off"
        )
