"""Encoders against open_clip's and timm's own forward passes, without any download.

Every kind of tower is tried with random weights: at its true width, ViTs at a depth of four.
"""

from __future__ import annotations

import json
import math

import open_clip
import pytest
import torch
from open_clip.model import _build_vision_tower, resize_pos_embed
from torch import nn
from torch.nn import functional as F

from scrapseg.data.classes import CLASSES
from scrapseg.models import prompts
from scrapseg.models.clip import Clip, ClipError, load_clip
from scrapseg.models.scrapseg import ModelFileError, ScrapSeg
from scrapseg.models.towers import (
    TokenEncoder,
    default_indices,
    encode_texts,
    image_encoder,
    pocket_clip,
    pocket_image_encoder,
    read_tower,
)
from scrapseg.models.vit import value_attention

VITS = ("ViT-B-16", "ViT-L-14-336", "ViT-B-16-SigLIP")
MATRIX = (*VITS, "RN50", "convnext_base")


@pytest.fixture(scope="module")
def encoder():
    return pocket_image_encoder().eval()


@torch.no_grad()
def test_pooled_token_is_open_clips_image_embedding(encoder):
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(1))
    expected = pocket_clip().encode_image(images)
    torch.testing.assert_close(encoder(images).pooled, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_stages_have_their_strides_and_depth(encoder):
    maps = encoder(torch.randn(1, 3, 128, 160)).maps
    assert [m.shape[1] for m in maps] == encoder.channels
    assert [(128 // m.shape[2], 160 // m.shape[3]) for m in maps] == [
        (s, s) for s in (4, 8, 16, 32)
    ]


def test_depth_groups_hold_every_parameter_once(encoder):
    grouped = [p for group in encoder.depth_groups() for p in group]
    assert len({id(p) for p in grouped}) == len(grouped)
    assert {id(p) for p in grouped} == {id(p) for p in encoder.parameters()}
    # The stem comes first, the joint-space projection last.
    assert any(p is encoder.visual.trunk.conv_stem.weight for p in encoder.depth_groups()[0])
    assert any(p is encoder.visual.head.proj.weight for p in encoder.depth_groups()[-1])


def test_seed_draws_the_new_projection_only():
    a, b, c = (pocket_image_encoder(s).visual for s in (0, 0, 1))
    assert torch.equal(a.head.proj.weight, b.head.proj.weight)
    assert not torch.equal(a.head.proj.weight, c.head.proj.weight)
    assert torch.equal(a.trunk.conv_stem.weight, c.trunk.conv_stem.weight)


def test_building_leaves_the_global_random_state_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    pocket_image_encoder(7)
    assert torch.equal(torch.rand(4), expected)


def test_text_tower_is_frozen_and_knows_synonyms():
    assert not any(p.requires_grad for p in pocket_clip().text.parameters())
    timber, wood, motor = encode_texts(["a piece of timber", "a piece of wood", "electric motor"])
    assert timber @ wood > 0.8 > 0.5 > timber @ motor
    assert timber.norm().item() == pytest.approx(1, abs=1e-5)


# ---------------------------------------------------------------- any open_clip model


@pytest.fixture(scope="module")
def shorter(tmp_path_factory):
    """Gives open_clip a shorter form of one of its models; its name."""
    folder = tmp_path_factory.mktemp("configs")

    def add(name: str, **vision: int) -> str:
        config = open_clip.get_model_config(name)
        config["embed_dim"] = vision.pop("embed_dim", config["embed_dim"])
        config["text_cfg"] |= {"layers": 1, "vocab_size": 64, "hf_tokenizer_name": None}
        if isinstance(config["vision_cfg"].get("layers"), int):
            config["vision_cfg"]["layers"] = 4
        config["vision_cfg"] |= vision
        path = folder / f"short-{name}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)
        return path.stem

    return add


@pytest.fixture(scope="module", params=MATRIX)
def clip(request, shorter) -> Clip:
    torch.manual_seed(0)
    made = load_clip(shorter(request.param))
    if request.param == "ViT-B-16-SigLIP":
        made.model.visual.trunk.blocks = made.model.visual.trunk.blocks[:4]
    return made


@pytest.fixture(scope="module")
def small(shorter) -> Clip:
    """A ViT of 4 blocks, 4 x 4 patches of 8 pixels and 32 channels."""
    torch.manual_seed(1)
    size = {"width": 32, "head_width": 8, "patch_size": 8, "image_size": 32}
    return load_clip(shorter("ViT-S-16", **size))


def noise(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_pooled_is_encode_image_and_stages_have_their_shapes(clip):
    encoder = image_encoder(clip).eval()
    side = encoder.image_size
    images = noise(1, 3, side, side)
    stages = encoder(images)
    torch.testing.assert_close(stages.pooled, clip.model.encode_image(images), atol=1e-5, rtol=0)
    assert stages.pooled.shape == (1, clip.width) == (1, encoder.width)
    strides = [side // m.shape[2] for m in stages.maps]
    assert all(m.shape[2] == m.shape[3] for m in stages.maps)
    assert [m.shape[1] for m in stages.maps] == encoder.channels
    if isinstance(encoder, TokenEncoder):
        assert strides == [encoder.multiple] * 4
        joint = [(1, clip.width, *m.shape[2:]) for m in stages.maps]
        assert [m.shape for m in stages.joint] == joint
    else:
        assert strides == [4, 8, 16, 32]
        assert stages.joint is None


def test_gradients_reach_all_of_the_image_tower_and_nothing_of_the_text_tower(clip):
    text = prompts.random_embeddings(3, seed=0, width=clip.width)
    model = ScrapSeg(image_encoder(clip), text, width=8).train()
    out = model(noise(2, 3, 96, 64))
    assert out.logits.shape == (2, 3, 96, 64)
    (out.logits.square().mean() + out.image_logits.square().mean()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []
    for name, parameter in clip.model.named_parameters():
        if not name.startswith("visual."):
            assert not parameter.requires_grad and parameter.grad is None, name
    grouped = [id(p) for g in model.param_groups(1e-3, 0.5, 1e-4) for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())
    model.zero_grad()


@pytest.mark.parametrize(
    "name, vision, image_size",
    [
        ("ViT-B-16", {"width": 32, "head_width": 8, "patch_size": 8, "image_size": 32}, None),
        ("ViT-B-16-quickgelu", {"width": 32, "head_width": 8, "image_size": 64}, 96),
        (
            "ViT-B-16-SigLIP",
            {"timm_model_name": "test_vit3", "image_size": 160, "embed_dim": 96},
            96,
        ),
        ("RN50", {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64}, 96),
        ("convnext_base", {"timm_model_name": "test_convnext", "image_size": 160}, None),
    ],
)
@torch.no_grad()
def test_a_saved_model_remembers_its_encoder(name, vision, image_size, shorter, tmp_path):
    clip = load_clip(shorter(name, **dict(vision)), image_size=image_size)
    text = prompts.random_embeddings(2, seed=0, width=clip.width)
    value_stages = 1 if clip.name.startswith("short-ViT") else 0
    encoder = image_encoder(clip, indices=[1, 3], value_stages=value_stages)
    model = ScrapSeg(encoder, text, width=8).eval()
    model.set_classes(prompts.random_embeddings(3, seed=1, width=clip.width))
    model.save(tmp_path / "m.safetensors")
    loaded = ScrapSeg.load(tmp_path / "m.safetensors")
    assert loaded.encoder.spec == encoder.spec
    assert loaded.encoder.spec["model"] == clip.name
    assert (loaded.mean, loaded.std) == (model.mean, model.std)
    assert loaded.encoder.image_size == encoder.image_size == (image_size or vision["image_size"])
    for images in (noise(1, 3, 64, 64), noise(1, 3, 96, 96)):
        assert torch.equal(loaded(images).logits, model(images).logits)


def test_a_model_saved_before_there_was_a_choice_is_a_pocket_model(tmp_path):
    text = prompts.random_embeddings(2, seed=0)
    model = ScrapSeg(pocket_image_encoder(), text, width=8).eval()
    model.save(tmp_path / "m.safetensors")
    config = json.loads((tmp_path / "m.json").read_text())
    assert config.pop("encoder") == {"model": "pocket"}
    (tmp_path / "m.json").write_text(json.dumps(config))
    with torch.no_grad():
        logits = ScrapSeg.load(tmp_path / "m.safetensors")(noise(1, 3, 64, 64)).logits
        assert torch.equal(logits, model(noise(1, 3, 64, 64)).logits)


def test_a_saved_encoder_that_cannot_be_built_is_named(small, tmp_path):
    text = prompts.random_embeddings(2, seed=0, width=small.width)
    ScrapSeg(image_encoder(small), text).save(tmp_path / "m.safetensors")
    config = json.loads((tmp_path / "m.json").read_text())
    config["encoder"]["vision_cfg"]["timm_model_name"] = "vit_of_tomorrow"
    (tmp_path / "m.json").write_text(json.dumps(config))
    with pytest.raises(ModelFileError, match=r"m\.safetensors.*vit_of_tomorrow"):
        ScrapSeg.load(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    "name, indices, channels, grid",
    [
        ("ViT-B-16", [2, 5, 8, 11], 768, 14),
        ("ViT-L-14-336", [5, 11, 17, 23], 1024, 24),
        ("ViT-B-16-SigLIP", [2, 5, 8, 11], 768, 14),
        ("RN50", [1, 2, 3, 4], [256, 512, 1024, 2048], 56),
        ("convnext_base", [0, 1, 2, 3], [128, 256, 512, 1024], 56),
        ("EVA02-B-16", [2, 5, 8, 11], 768, 14),
        ("ViTamin-S", [2, 6, 9, 13], 384, 14),
        ("swin_base_patch4_window7_224", [0, 1, 2, 3], [128, 256, 512, 1024], 56),
    ],
)
@torch.no_grad()
def test_towers_at_full_depth(name, indices, channels, grid):
    """Shapes only: the tower is on torch's meta device."""
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        visual = _build_vision_tower(config["embed_dim"], config["vision_cfg"])
    spec = {"model": name, "indices": default_indices(visual), "value_stages": 0}
    spec |= {"mean": [0.5] * 3, "std": [0.5] * 3, "temperature": 0.07}
    encoder = read_tower(visual, spec).eval()
    assert encoder.indices == indices
    assert encoder.channels == (channels if isinstance(channels, list) else [channels] * 4)
    side = encoder.image_size
    for size in ((side, side), (side + 40, side - 30)):
        stages = encoder(torch.empty(2, 3, *size, device="meta"))
        assert stages.pooled.shape == (2, config["embed_dim"])
    assert encoder(torch.empty(2, 3, side, side, device="meta")).maps[0].shape[2:] == (grid, grid)
    parameters = [id(p) for group in encoder.depth_groups() for p in group]
    assert sorted(parameters) == sorted(id(p) for p in encoder.parameters())


@torch.no_grad()
def test_a_class_token_goes_the_way_to_the_joint_space_that_pooling_takes(small):
    visual, encoder = small.model.visual, image_encoder(small)
    images = noise(2, 3, 32, 32)
    last = visual.transformer(visual._embeds(images))
    token = encoder.to_joint(visual.ln_post(last)[:, :1].mT.unflatten(2, (1, 1)))
    torch.testing.assert_close(token[:, :, 0, 0], visual(images), atol=1e-5, rtol=0)
    patches = encoder(images).joint[-1].flatten(2).mT
    expected = visual.ln_post(last)[:, 1:] @ visual.proj
    torch.testing.assert_close(patches, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_attention_pooling_of_one_token_is_its_value(shorter):
    """SigLIP's kind of head written out for one token: its value, projected, and the head's MLP."""
    clip = load_clip(shorter("ViT-B-16-SigLIP", timm_model_name="test_vit3", embed_dim=96))
    pool = clip.model.visual.trunk.attn_pool
    stages = image_encoder(clip)(noise(1, 3, 96, 96))
    x = stages.maps[1].flatten(2).mT
    values = pool.kv(x).chunk(2, dim=-1)[1]
    x = pool.proj(values)
    x = x + pool.mlp(pool.norm(x))
    torch.testing.assert_close(stages.joint[1].flatten(2).mT, x, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- image sizes


@torch.no_grad()
def test_positions_are_interpolated_as_open_clip_does_on_loading(small):
    encoder = image_encoder(small).eval()
    before = small.model.visual.positional_embedding
    vision = small.config["vision_cfg"] | {"image_size": 56}
    larger = _build_vision_tower(small.width, vision, quick_gelu=small.config["quick_gelu"])
    whole = nn.Module()
    whole.visual = larger
    state = {f"visual.{k}": v for k, v in small.model.visual.state_dict().items()}
    resize_pos_embed(state, whole)
    whole.load_state_dict(state)
    images = noise(2, 3, 56, 56)
    torch.testing.assert_close(encoder(images).pooled, larger(images), atol=1e-5, rtol=0)
    assert encoder(images).maps[0].shape[2:] == (7, 7)
    assert small.model.visual.positional_embedding is before


@torch.no_grad()
def test_as_many_patches_in_another_shape_get_other_positions(small):
    """16 patches in a row or in a square: only the first token's position is the same."""
    visual, encoder = small.model.visual, image_encoder(small).eval()
    square = visual.positional_embedding[1:].T.reshape(1, 32, 4, 4)
    row = F.interpolate(square, size=(2, 8), mode="bicubic", antialias=True).flatten(2)[0].T
    images = noise(1, 3, 16, 64)
    tokens = visual.conv1(images).flatten(2).mT
    tokens = torch.cat([visual.class_embedding[None, None], tokens], 1)
    tokens = tokens + torch.cat([visual.positional_embedding[:1], row])
    expected = visual.ln_post(visual.transformer(visual.ln_pre(tokens)))[:, 0] @ visual.proj
    torch.testing.assert_close(encoder(images).pooled, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_sizes_between_patches_are_resized_to_the_nearest(small):
    encoder = image_encoder(small).eval()
    images = noise(1, 3, 43, 60)
    resized = F.interpolate(images, size=(40, 64), mode="bilinear", antialias=True)
    assert torch.equal(encoder(images).pooled, encoder(resized).pooled)


def test_gradients_pass_through_the_interpolation(small):
    encoder = image_encoder(small)
    encoder(noise(1, 3, 48, 48)).pooled.sum().backward()
    assert small.model.visual.positional_embedding.grad.abs().sum() > 0
    encoder.zero_grad()


@torch.no_grad()
def test_a_resnets_attention_pool_takes_other_sizes(shorter):
    torch.manual_seed(0)
    short = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 64, "image_size": 64}
    clip = load_clip(shorter("RN50", **short))
    pool = clip.model.visual.attnpool
    encoder = image_encoder(clip).eval()
    images = noise(1, 3, 96, 160)
    x = encoder(images).maps[-1].flatten(2).mT
    x = torch.cat([x.mean(1, keepdim=True), x], 1)
    grid = pool.positional_embedding[1:].T.reshape(1, -1, 2, 2)
    grid = F.interpolate(grid, size=(3, 5), mode="bicubic", antialias=True).flatten(2)[0].T
    x = x + torch.cat([pool.positional_embedding[:1], grid])
    q, k, v = (p(x).unflatten(2, (pool.num_heads, -1)).transpose(1, 2) for p in (
        pool.q_proj, pool.k_proj, pool.v_proj))  # fmt: skip
    attention = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    expected = pool.c_proj((attention @ v).transpose(1, 2).flatten(2))[:, 0]
    torch.testing.assert_close(encoder(images).pooled, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["ViT-S-16", "ViT-B-16-SigLIP"])
@torch.no_grad()
def test_image_size_on_loading_is_open_clips(name, shorter):
    config = {"width": 32, "head_width": 8} if name == "ViT-S-16" else {}
    config |= {"timm_model_name": "vit_tiny_patch16_224"} if "SigLIP" in name else {}
    clip = load_clip(shorter(name, **config), image_size=96)
    encoder = image_encoder(clip).eval()
    assert encoder.image_size == 96
    assert encoder(noise(1, 3, 96, 96)).maps[0].shape[2:] == (6, 6)
    positions = next(p for n, p in encoder.named_parameters() if "pos" in n and "emb" in n)
    assert positions.shape[-2] in (36, 37)


# ---------------------------------------------------------------- value-value attention


def brute_force(x: torch.Tensor, block: nn.Module) -> torch.Tensor:
    """Value-value attention of one block, token by token and head by head; x (N, C)."""
    width, heads = x.shape[1], block.attn.num_heads
    weight, bias = block.attn.in_proj_weight[2 * width :], block.attn.in_proj_bias[2 * width :]
    values = block.ln_1(x) @ weight.T + bias
    size = width // heads
    mixed = torch.zeros_like(values)
    for h in range(heads):
        part = values[:, h * size : (h + 1) * size]
        for i in range(len(x)):
            alike = torch.tensor(
                [float(part[i] @ part[j]) / math.sqrt(size) for j in range(len(x))]
            )
            share = alike.exp() / alike.exp().sum()
            mixed[i, h * size : (h + 1) * size] = sum(s * v for s, v in zip(share, part))
    return mixed @ block.attn.out_proj.weight.T + block.attn.out_proj.bias


@torch.no_grad()
def test_value_attention_by_hand(small):
    visual = small.model.visual
    images = noise(1, 3, 32, 32)
    x, states = visual._embeds(images), []
    for block in visual.transformer.resblocks:
        x = block(x)
        states.append(x)
    # Two of four stages: the stream leaves the tower's path after block 1.
    stream = states[1][0] + brute_force(states[1][0], visual.transformer.resblocks[2])
    third = visual.ln_post(stream)[1:]
    stream = stream + brute_force(states[2][0], visual.transformer.resblocks[3])
    last = visual.ln_post(stream)[1:] @ visual.proj
    stages = image_encoder(small, value_stages=2)(images)
    torch.testing.assert_close(stages.maps[2][0].flatten(1).T, third, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(stages.joint[3][0].flatten(1).T, last, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_value_attention_changes_only_the_maps_of_the_last_stages(small):
    images = noise(2, 3, 32, 32)
    plain = image_encoder(small)(images)
    read = image_encoder(small, value_stages=1)(images)
    assert torch.equal(plain.pooled, read.pooled)
    for stage in (0, 1, 2):
        torch.testing.assert_close(read.maps[stage], plain.maps[stage], atol=1e-6, rtol=0)
    assert (read.maps[3] - plain.maps[3]).abs().max() > 0.01
    again = image_encoder(small)(images)
    assert all(torch.equal(a, b) for a, b in zip(plain.maps, again.maps))


@torch.no_grad()
def test_value_attention_of_timm_towers(shorter):
    clip = load_clip(shorter("ViT-B-16-SigLIP", timm_model_name="vit_tiny_patch16_224"))
    encoder = image_encoder(clip, value_stages=1).eval()
    trunk = clip.model.visual.trunk
    images = noise(1, 3, 64, 64)
    x = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(images)))
    for block in trunk.blocks[:9]:
        x = block(x)
    stream = x
    for block in trunk.blocks[9:]:
        v = block.attn.qkv(block.norm1(x)).chunk(3, dim=-1)[2]
        stream = stream + block.ls1(block.attn.proj(value_attention(v, block.attn.num_heads)))
        x = block(x)
    expected = trunk.norm(stream)[:, trunk.num_prefix_tokens :]
    found = encoder(images).maps[3].flatten(2).mT
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- how ScrapSeg uses a ViT


@torch.no_grad()
def test_an_untrained_frozen_vit_gives_clips_own_zero_shot_maps(small):
    text = prompts.random_embeddings(4, seed=2, width=small.width)
    model = ScrapSeg(image_encoder(small), text, trained="head").eval()
    images = noise(2, 3, 32, 32)
    visual = small.model.visual
    last = visual.ln_post(visual.transformer(visual._embeds(images)))[:, 1:] @ visual.proj
    expected = F.normalize(last, dim=-1) @ text.T
    maps, pooled = model.stage_similarities(images)
    torch.testing.assert_close(maps[-1].flatten(2).mT, expected, atol=1e-5, rtol=0)
    expected = F.normalize(small.model.encode_image(images), dim=1) @ text.T
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=0)
    assert model.log_scale.exp().item() == pytest.approx(small.model.logit_scale.exp().item())


def test_a_frozen_vit_trains_residuals_only(small):
    text = prompts.random_embeddings(4, seed=2, width=small.width)
    model = ScrapSeg(image_encoder(small), text, trained="head").train()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    scalars = {"stage_logits", "log_scale", "image_log_scale", "normal_bias"}
    assert trained == scalars | {f"neck.residuals.{i}.weight" for i in range(4)}
    before = model(noise(1, 3, 32, 32)).logits
    before[:, 1].mean().backward()
    with torch.no_grad():
        for residual in model.neck.residuals:
            residual.weight -= residual.weight.grad
    assert (model(noise(1, 3, 32, 32)).logits - before).abs().max() > 1e-4
    model.encoder.requires_grad_(True)


def test_gradient_checkpointing_changes_no_gradient(small):
    found = []
    for checkpointing in (False, True):
        encoder = image_encoder(small, grad_checkpointing=checkpointing).train()
        stages = encoder(noise(2, 3, 32, 32))
        (stages.pooled.sum() + stages.maps[1].square().sum()).backward()
        found.append({n: p.grad.clone() for n, p in encoder.named_parameters()})
        encoder.zero_grad()
    assert small.model.visual.transformer.grad_checkpointing
    small.model.visual.set_grad_checkpointing(False)
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    "options, message",
    [
        ({"indices": [3, 1]}, "rising numbers from 0 to 3"),
        ({"indices": [1, 4]}, "rising numbers from 0 to 3"),
        ({"value_stages": 4}, "value_stages is 4, not 0 to 3"),
    ],
)
def test_stages_that_are_not_there_are_refused(small, options, message):
    with pytest.raises(ClipError, match=message):
        image_encoder(small, **options)


def test_what_a_tower_cannot_do_is_said(shorter):
    resnet = load_clip(shorter("RN50", layers=[1, 1, 1, 1], width=8, image_size=64))
    with pytest.raises(ClipError, match="no ViT"):
        image_encoder(resnet, value_stages=1)
    with pytest.raises(ClipError, match="gradient checkpointing"):
        image_encoder(resnet, grad_checkpointing=True)
    with pytest.raises(ClipError, match="attention pool"):
        name = shorter("ViT-S-16", width=32, head_width=8, attentional_pool=True)
        image_encoder(load_clip(name))
    with pytest.raises(ClipError, match="no model named 'ViT-Q-14'"):
        load_clip("ViT-Q-14")


# ---------------------------------------------------------------- the text side


@pytest.fixture(scope="module")
def speaker(tmp_path_factory) -> Clip:
    """A small model with a whole vocabulary."""
    config = open_clip.get_model_config("ViT-S-16")
    config["vision_cfg"] |= {"layers": 1, "width": 32, "head_width": 8}
    config["text_cfg"] |= {"layers": 1, "width": 32, "heads": 4}
    path = tmp_path_factory.mktemp("speaker") / "small-speaker.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    torch.manual_seed(0)
    return load_clip("small-speaker")


@torch.no_grad()
def test_sentences_go_through_the_models_own_tokenizer_and_tower(speaker):
    sentences = ["wood", "a photo of a spray can", "object which is not steel but wood"] * 20
    tokens = open_clip.get_tokenizer("ViT-S-16")(sentences)
    expected = F.normalize(speaker.model.encode_text(tokens), dim=1)
    torch.testing.assert_close(speaker.encode_texts(sentences), expected, atol=1e-6, rtol=0)


def test_class_vectors_of_any_model_are_cached_by_its_weights(speaker, tmp_path, monkeypatch):
    three = {"classes": CLASSES[:3], "templates": ("word", "photo"), "words": 2}
    first = prompts.class_embeddings(**three, cache_dir=tmp_path, clip=speaker)
    sentences = [prompts.sentences(c, ("word", "photo"), 2) for c in CLASSES[:3]]
    for vector, group in zip(first, sentences, strict=True):
        mean = speaker.encode_texts(group).mean(0)
        torch.testing.assert_close(vector, mean / mean.norm(), atol=1e-5, rtol=0)
    monkeypatch.setattr(speaker.model, "encode_text", None)  # from here on only the cache answers
    again = prompts.class_embeddings(**three, cache_dir=tmp_path, clip=speaker)
    assert torch.equal(first, again)
    other = Clip(speaker.name, speaker.model, speaker.config)
    with torch.no_grad():
        speaker.model.ln_final.bias += 1
    assert other.text_identity != speaker.text_identity  # which was taken before
    with pytest.raises(TypeError):
        prompts.class_embeddings(**three, cache_dir=tmp_path, clip=other)
