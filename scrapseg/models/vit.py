"""What reading a transformer at several depths and any image size takes, without its stages.

Position embeddings for the size at hand, and value-value attention; `towers.TokenEncoder` reads by
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional as F

from scrapseg.models.clip import ClipError


def is_vit(visual: nn.Module) -> bool:
    """Whether an open_clip image tower is a transformer with one grid of tokens throughout."""
    trunk = getattr(visual, "trunk", None)
    return isinstance(visual, VisionTransformer) or hasattr(trunk, "num_prefix_tokens")


@contextmanager
def positions_for(visual: nn.Module, size: Sequence[int]) -> Iterator[None]:
    """Interpolate a tower's position embeddings to images of `size` (H, W), for the block.

    open_clip does so for one size, when weights are loaded; this is the same filter (bicubic,
    antialiased) for every batch, and gradients pass through it. timm's towers do it themselves.
    """
    if isinstance(visual, VisionTransformer):
        module, stride, before = visual, visual.patch_size, visual.grid_size
    elif isinstance(visual, ModifiedResNet):
        module, stride = visual.attnpool, (32, 32)
        before = (round((len(module.positional_embedding) - 1) ** 0.5),) * 2
    else:
        yield
        return
    grid = (size[0] // stride[0], size[1] // stride[1])
    kept = module.positional_embedding
    if grid != before:
        resized = resample_abs_pos_embed(kept[None], grid, before, num_prefix_tokens=1)[0]
        module._parameters["positional_embedding"] = resized
    try:
        yield
    finally:
        module._parameters["positional_embedding"] = kept


def value_stream(
    blocks: Sequence[nn.Module], states: dict[int, Tensor], first: int, last: int
) -> dict[int, Tensor]:
    """Value-value attention beside the tower's own path (CLIP Surgery, Li et al. 2304.05653).

    In CLIP, what a patch attends to is often not what it looks like; its values are more like those
    of its own kind. So from block `first` on a second stream adds up what each block's attention
    would say with values in place of queries and keys, without the MLPs, while the inputs of the
    blocks stay those of the tower's own path. AnomalyCLIP (arXiv:2310.18961) reads its maps so.

    Args:
        states: output (B, N, C) of each block from `first` - 1 to `last` - 1, by block number.

    Returns:
        The stream after each block from `first` to `last`, by block number.
    """
    stream = states[first - 1]
    found = {}
    for i in range(first, last + 1):
        block, x = blocks[i], states[i - 1]
        if isinstance(block, ResidualAttentionBlock):
            weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
            norm, out, scale = block.ln_1, block.attn.out_proj, block.ls_1
        elif getattr(block.attn, "qkv", None) is not None and hasattr(block, "ls1"):
            weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
            norm, out, scale = block.norm1, block.attn.proj, block.ls1
        else:
            raise ClipError(f"value-value attention cannot read a {type(block).__name__}")
        rows = slice(2 * len(weight) // 3, None)  # queries, keys, values
        v = F.linear(norm(x), weight[rows], bias if bias is None else bias[rows])
        stream = stream + scale(out(value_attention(v, block.attn.num_heads)))
        found[i] = stream
    return found


def value_attention(values: Tensor, heads: int) -> Tensor:
    """softmax(v v' / sqrt(d)) v in each of `heads` heads; values and result (B, N, C)."""
    v = values.unflatten(2, (heads, -1)).transpose(1, 2)
    return F.scaled_dot_product_attention(v, v, v).transpose(1, 2).flatten(2)
