"""What a configuration leaves to the machine: the preset, the devices, and whether to compile."""

from __future__ import annotations

import torch

from esper_leyline.config.training import CompileConfig
from esper_train.errors import TrainError
from esper_train.settings.draft import Draft

GPU_PRESET = "cifar10"
CPU_PRESET = "mnist1d_blind"


def default_preset() -> tuple[str, str]:
    """Returns the default preset, named like its task, and the reason."""
    if torch.cuda.is_available():
        return GPU_PRESET, "the default where there is a CUDA GPU"
    return CPU_PRESET, f"no CUDA GPU here (with one the default is {GPU_PRESET})"


def find_device(wanted: str | None) -> tuple[str, str | None]:
    """Returns the device to train on, and the reason where none was named.

    Raises:
        TrainError: If the wanted one is not here.
    """
    if wanted is None:
        if torch.cuda.is_available():
            return "cuda:0", "device cuda:0: the default where there is a CUDA GPU"
        return "cpu", "device cpu: no CUDA GPU here"
    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    allowed = ["cpu", *gpus]
    name = "cuda:0" if wanted == "cuda" and gpus else wanted
    if name not in allowed:
        raise TrainError(f"device '{wanted}' is not available; choose from: {', '.join(allowed)}")
    return name, None


def settle_devices(draft: Draft) -> Draft:
    """Sets the device of the policy, and those to spread hosts over; none if there is only one.

    Raises:
        TrainError: If one of them is not here, or the policy's is none of the hosts'.
    """
    config, sources = draft.config, draft.given.sources
    one, several = "device" in sources, "devices" in sources
    if one and several and config.device not in config.devices:
        raise TrainError(
            f"{sources['device']} {config.device} is none of {sources['devices']} "
            f"{' '.join(config.devices)}; the policy computes on one of the hosts' devices, so "
            "name one of them, or leave the first out"
        )
    # Where one device was asked for, it is the only one, whatever a file spreads over.
    alone = one and not several
    devices = [] if alone else [find_device(name)[0] for name in config.devices]
    if devices != list(config.devices):
        draft = draft.set({"devices": devices}, sources["device"] if alone else "this machine")
    device, note = find_device(config.device if one or not devices else devices[0])
    if device != config.device:
        draft = draft.set({"device": device}, "this machine", *([note] if note else ()))
    return draft


def settle_compilation(draft: Draft) -> Draft:
    """Lets each of the two flags override both settings of a file, mode and force."""
    compile_, sources = draft.config.compile, draft.given.sources
    mode, force = sources.get("compile.mode"), sources.get("compile.force")
    if mode and not force and compile_.force:
        return draft.set({"compile.force": False}, mode)
    if force and not mode and compile_.force and compile_.mode == "off":
        return draft.set({"compile.mode": "default"}, force)
    return draft


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
        return None, "compile: nothing, the default on a CPU; --force-compile compiles anyway"
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
