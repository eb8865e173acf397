"""Tells what kind of activations a module returns."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from esper_kasmina.activations import Activations
from esper_kasmina.errors import KasminaError

_CHANNELS_FIRST = (nn.Conv1d, nn.ConvTranspose1d, nn.BatchNorm1d, nn.InstanceNorm1d)


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
        return Activations.maps(tensor.shape[1], dimensions=2)
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


def _three_axes(tensor: Tensor, place: str, module: nn.Module | None) -> Activations:
    parts = list(module.modules()) if module is not None else []
    channels = {size for part in parts for size in _channel_sizes(part)}
    widths = {size for part in parts for size in _widths(part)}
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
        isinstance(part, nn.MultiheadAttention) and not part.batch_first for part in parts
    )
    return Activations.tokens(tensor.shape[2], batch_first=not batch_second)


def _channel_sizes(part: nn.Module) -> Iterator[int]:
    if isinstance(part, _CHANNELS_FIRST):
        yield part.out_channels if hasattr(part, "out_channels") else part.num_features


def _widths(part: nn.Module) -> Iterator[int]:
    if isinstance(part, nn.LayerNorm):
        yield part.normalized_shape[-1]
    elif isinstance(part, nn.Linear):
        yield part.out_features
    elif isinstance(part, nn.Embedding | nn.MultiheadAttention):
        yield part.embedding_dim if isinstance(part, nn.Embedding) else part.embed_dim
