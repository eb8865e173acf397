"""Infers the kind of activations that a module returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from esper_kasmina.activations.outputs import describe_choice
from esper_kasmina.activations.spec import ActivationSpec, Layout
from esper_kasmina.errors import KasminaError

_CONVOLUTIONS = (
    *(nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d, nn.ConvTranspose2d),
    *(nn.Conv3d, nn.ConvTranspose3d),
)
_BATCH_NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
_CHANNELS_SECOND = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Upsample, nn.PixelShuffle, nn.PixelUnshuffle),
)
"""Layers without weights whose channels are always the second axis."""


@dataclass(frozen=True, slots=True)
class LayerSizes:
    """The numbers of channels of the layers in a module.

    Attributes:
        second: Of layers whose channels are the second axis, such as convolutions.
        last: Of layers whose channels are the last axis, such as linear layers.
    """

    second: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()


def layer_sizes(module: nn.Module) -> LayerSizes:
    """Returns the numbers of channels that the layers in a module take or return."""
    second, last = _output_sizes(module)
    for part in module.modules():
        if isinstance(part, _CONVOLUTIONS):
            second.add(part.in_channels)
        if isinstance(part, nn.Linear):
            last.add(part.in_features)
    return LayerSizes(frozenset(second), frozenset(last))


def infer(
    output: object,
    *,
    where: str,
    module: nn.Module | None = None,
    model_sizes: LayerSizes | None = None,
) -> ActivationSpec:
    """Infers the kind of activations from an example.

    The axis of the channels is the one whose size a layer of ``module`` returns. If that does not
    decide it, as for an activation function, it is the one whose size a layer of the whole model
    takes or returns.

    Args:
        output: What the module returned.
        where: Who returned it, as the start of an error message.
        module: The module; ``None`` if it is not known.
        model_sizes: The layer sizes of the model that ``module`` is part of.

    Raises:
        KasminaError: If a slot cannot take the output, or if its kind cannot be inferred.
    """
    tensor = check_tensor(output, where=where)
    layer_sizes_to_try = [LayerSizes(*map(frozenset, _output_sizes(module)))]
    if model_sizes is not None:
        layer_sizes_to_try.append(model_sizes)
    if tensor.dim() == 2:
        return ActivationSpec.features(tensor.shape[1])
    if tensor.dim() not in {3, 4, 5}:
        raise KasminaError(
            f"{where} returns {tensor.dim()} axes, {tuple(tensor.shape)}; a slot takes feature "
            "maps [B, C, L], [B, C, H, W] or [B, C, D, H, W], tokens [B, T, D] or vectors [B, D]"
        )
    layout = _infer_layout(tensor, module, layer_sizes_to_try)
    if tensor.dim() == 3:
        return _signals_or_tokens(tensor, layout, where, module)
    return _images_or_volumes(tensor, layout, where)


def check_tensor(output: object, *, where: str) -> Tensor:
    """Returns what a module returned, if it is a tensor that a slot can take.

    Raises:
        KasminaError: If it is not a tensor of floating-point numbers.
    """
    if not isinstance(output, Tensor):
        raise KasminaError(
            f"{where} returns a {type(output).__name__}; a slot takes one tensor, "
            f"so choose a submodule that returns one{describe_choice(output)}"
        )
    if not output.is_floating_point():
        raise KasminaError(
            f"{where} returns {output.dtype}; a slot takes floating-point activations"
        )
    return output


def _infer_layout(
    tensor: Tensor, module: nn.Module | None, layer_sizes_to_try: list[LayerSizes]
) -> Layout | None:
    """Infers which axis holds the channels; ``None`` if no layer or several layers decide it."""
    if isinstance(module, _CHANNELS_SECOND):
        return "channels_first"
    for sizes in layer_sizes_to_try:
        second, last = tensor.shape[1] in sizes.second, tensor.shape[-1] in sizes.last
        if second != last:
            return "channels_first" if second else "channels_last"
        if second:
            return None
    return None


def _images_or_volumes(tensor: Tensor, layout: Layout | None, where: str) -> ActivationSpec:
    dimensions = tensor.dim() - 2
    if layout is None:
        arguments = "" if dimensions == 2 else f", dimensions={dimensions}"
        raise KasminaError(
            f"{where} returns {tuple(tensor.shape)}, which may have its channels second or last; "
            f"say which with ActivationSpec.maps({tensor.shape[1]}{arguments}) or "
            f"ActivationSpec.maps({tensor.shape[-1]}{arguments}, layout='channels_last')"
        )
    channels = tensor.shape[1 if layout == "channels_first" else -1]
    return ActivationSpec.maps(channels, dimensions=dimensions, layout=layout)


def _signals_or_tokens(
    tensor: Tensor, layout: Layout | None, where: str, module: nn.Module | None
) -> ActivationSpec:
    if layout is None:
        raise KasminaError(
            f"{where} returns {tuple(tensor.shape)}, which may be signals [B, C, L] or tokens "
            "[B, T, D]; say which with ActivationSpec.maps(channels, dimensions=1) or "
            "ActivationSpec.tokens(width)"
        )
    if layout == "channels_first":
        return ActivationSpec.maps(tensor.shape[1], dimensions=1)
    batch_second = any(
        isinstance(part, nn.MultiheadAttention) and not part.batch_first
        for part in _modules(module)
    )
    return ActivationSpec.tokens(tensor.shape[2], batch_first=not batch_second)


def _modules(module: nn.Module | None) -> list[nn.Module]:
    return [] if module is None else list(module.modules())


def _output_sizes(module: nn.Module | None) -> tuple[set[int], set[int]]:
    """Returns the channels that layers may return as the second axis, and as the last axis."""
    parts = _modules(module)
    second = {part.out_channels for part in parts if isinstance(part, _CONVOLUTIONS)}
    second |= {part.num_features for part in parts if isinstance(part, _BATCH_NORMS)}
    second |= {part.num_channels for part in parts if isinstance(part, nn.GroupNorm)}
    norms = (nn.LayerNorm, nn.RMSNorm)
    last = {
        part.normalized_shape[0]
        for part in parts
        if isinstance(part, norms) and _over_last_axis(part)
    }
    last |= {part.out_features for part in parts if isinstance(part, nn.Linear)}
    last |= {part.embedding_dim for part in parts if isinstance(part, nn.Embedding)}
    last |= {part.embed_dim for part in parts if isinstance(part, nn.MultiheadAttention)}
    return second, last


def _over_last_axis(norm: nn.LayerNorm | nn.RMSNorm) -> bool:
    """Whether a norm is over the last axis of its input alone.

    Subclasses for maps, such as torchvision's ``LayerNorm2d``, permute the axes first.
    """
    torch_forward = type(norm).forward in {nn.LayerNorm.forward, nn.RMSNorm.forward}
    return torch_forward and len(norm.normalized_shape) == 1
