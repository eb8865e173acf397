"""Tells what kind of activations a module returns."""

from __future__ import annotations

from torch import Tensor, nn

from esper_kasmina.activations import Activations
from esper_kasmina.errors import KasminaError

_CONVOLUTIONS = (nn.Conv1d, nn.ConvTranspose1d, nn.Conv2d, nn.ConvTranspose2d)
_NORMS = (nn.BatchNorm1d, nn.InstanceNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d)


def infer(output: object, *, place: str, module: nn.Module | None = None) -> Activations:
    """Reads the kind of activations off an example.

    Args:
        output: What flows there.
        place: How to call it in an error.
        module: What returned it; tells signals [B, C, L] from tokens [B, T, D] by the
            sizes of the layers in it.

    Raises:
        KasminaError: If no seed can live there, or if the kind cannot be told.
    """
    tensor = check_tensor(output, place=place)
    if tensor.dim() == 4:
        return _four_axes(tensor, place, module)
    if tensor.dim() == 2:
        return Activations.features(tensor.shape[1])
    if tensor.dim() == 3:
        return _three_axes(tensor, place, module)
    raise KasminaError(
        f"{place} returns {tensor.dim()} axes, {tuple(tensor.shape)}; a slot takes feature maps "
        "[B, C, L] or [B, C, H, W], tokens [B, T, D] or vectors [B, D]"
    )


def check_tensor(output: object, *, place: str) -> Tensor:
    """Returns what a module returned if a slot can take it.

    Raises:
        KasminaError: If it is no tensor of floating-point numbers.
    """
    if not isinstance(output, Tensor):
        raise KasminaError(
            f"{place} returns a {type(output).__name__}; a slot takes one tensor, "
            "so choose a submodule that returns one"
        )
    if not output.is_floating_point():
        raise KasminaError(
            f"{place} returns {output.dtype}; a slot takes floating-point activations"
        )
    return output


def _four_axes(tensor: Tensor, place: str, module: nn.Module | None) -> Activations:
    channels, widths = _sizes(module)
    if tensor.shape[3] in widths and tensor.shape[1] not in channels:
        raise KasminaError(
            f"{place} returns {tuple(tensor.shape)}, which looks like [B, H, W, C]; a slot takes "
            "maps with the channels second, so choose another submodule, or say "
            "Activations.maps(channels) if they are"
        )
    return Activations.maps(tensor.shape[1], dimensions=2)


def _three_axes(tensor: Tensor, place: str, module: nn.Module | None) -> Activations:
    channels, widths = _sizes(module)
    signals, tokens = tensor.shape[1] in channels, tensor.shape[2] in widths
    if signals == tokens:
        raise KasminaError(
            f"{place} returns {tuple(tensor.shape)}, which may be signals [B, C, L] or tokens "
            "[B, T, D]; say which with Activations.maps(channels, dimensions=1) or "
            "Activations.tokens(width)"
        )
    if signals:
        return Activations.maps(tensor.shape[1], dimensions=1)
    batch_second = any(
        isinstance(part, nn.MultiheadAttention) and not part.batch_first for part in _parts(module)
    )
    return Activations.tokens(tensor.shape[2], batch_first=not batch_second)


def _parts(module: nn.Module | None) -> list[nn.Module]:
    return [] if module is None else list(module.modules())


def _sizes(module: nn.Module | None) -> tuple[set[int], set[int]]:
    """Returns the sizes that layers which put channels second, and last, may return."""
    parts = _parts(module)
    second = {part.out_channels for part in parts if isinstance(part, _CONVOLUTIONS)}
    second |= {part.num_features for part in parts if isinstance(part, _NORMS)}
    last = {part.normalized_shape[-1] for part in parts if isinstance(part, nn.LayerNorm)}
    last |= {part.out_features for part in parts if isinstance(part, nn.Linear)}
    last |= {part.embedding_dim for part in parts if isinstance(part, nn.Embedding)}
    last |= {part.embed_dim for part in parts if isinstance(part, nn.MultiheadAttention)}
    return second, last
