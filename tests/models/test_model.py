"""The method against its equations written out, and the life of a saved model."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from scrapseg.models.prompts import random_embeddings
from scrapseg.models.scrapseg import ModelFileError, ScrapSeg, StageProjection
from scrapseg.models.towers import pocket_image_encoder

TEXT = random_embeddings(5, seed=1)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return ScrapSeg(pocket_image_encoder(), TEXT, width=16).eval()


def test_folded_projection_equals_cosine_written_out():
    torch.manual_seed(0)
    project = StageProjection(16, 384)
    features = torch.randn(2, 16, 5, 7)
    joint = torch.einsum("dw,bwij->bdij", project.weight, features)
    expected = torch.einsum("cd,bdij->bcij", TEXT, F.normalize(joint, dim=1))
    torch.testing.assert_close(project(features, TEXT), expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_logits_are_the_weighted_sum_of_stages(model):
    model.stage_logits.copy_(torch.tensor([0.3, -0.2, 0.9, 0.0]))
    images = torch.randn(1, 3, 64, 64)
    maps, pooled = model.stage_similarities(images)
    weights = torch.tensor([0.3, -0.2, 0.9, 0.0]).exp()
    weights /= weights.sum()
    total = torch.zeros(1, 5, 16, 16)
    for w, m in zip(weights, maps, strict=True):
        total += w * F.interpolate(m, size=(16, 16), mode="bilinear")
    out = model(images)
    total /= 0.07
    total[:, 0] += model.normal_bias
    expected = F.interpolate(total, size=(64, 64), mode="bilinear")
    torch.testing.assert_close(out.logits, expected, atol=1e-4, rtol=1e-4)
    assert out.logits.shape == (1, 5, 64, 64)
    torch.testing.assert_close(out.image_logits, pooled / 0.07, atol=1e-4, rtol=1e-4)
    assert all(m.abs().max() <= 1 + 1e-5 for m in [*maps, pooled])


def test_gradients_reach_every_parameter_when_fine_tuned(model):
    model.train()
    out = model(torch.randn(2, 3, 64, 64))
    (out.logits.square().mean() + out.image_logits.square().mean()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None]
    assert without == []


def test_frozen_tower_keeps_weights_and_batch_statistics():
    model = ScrapSeg(pocket_image_encoder(), TEXT, width=16, trained="head").train()
    before = {k: v.clone() for k, v in model.encoder.visual.trunk.state_dict().items()}
    optimizer = torch.optim.AdamW(model.param_groups(1e-2, 0.9, 1e-2))
    out = model(torch.randn(2, 3, 64, 64))
    (out.logits.square().mean() + out.image_logits.square().mean()).backward()
    optimizer.step()
    after = model.encoder.visual.trunk.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert model.projections[0].weight.grad is not None


def test_param_groups_hold_each_trained_parameter_once(model):
    groups = model.param_groups(1e-3, 0.5, 4e-4)
    grouped = [id(p) for g in groups for p in g["params"]]
    trained = [id(p) for p in model.parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trained)
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    trunk = model.encoder.visual.trunk
    assert rate[id(model.encoder.visual.head.proj.weight)] == 4e-4
    assert rate[id(trunk.conv_stem.weight)] < rate[id(trunk.blocks[3][0].conv_pw.weight)] < 4e-4


def test_saved_and_loaded_is_bit_equal(model, tmp_path):
    model.train()
    model(torch.randn(4, 3, 64, 64))  # moves the batch statistics
    model.eval().save(tmp_path / "m.safetensors")
    loaded = ScrapSeg.load(tmp_path / "m.safetensors")
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(images).logits, loaded(images).logits)


def test_classes_are_data(model):
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(images).logits
        model.set_classes(torch.cat([TEXT, random_embeddings(1, seed=9)]))
        after = model(images).logits
    assert after.shape[1] == 6
    torch.testing.assert_close(after[:, :5], before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("damage", ["missing", "truncated", "other shape"])
def test_a_bad_model_file_is_named(model, tmp_path, damage):
    path = tmp_path / "m.safetensors"
    model.save(path)
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        config = path.with_suffix(".json")
        config.write_text(config.read_text().replace('"width": 16', '"width": 24'))
    with pytest.raises(ModelFileError, match=str(path)) as caught:
        ScrapSeg.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_stages_are_the_coarse_ones_of_all(model, n):
    few = ScrapSeg(pocket_image_encoder(), TEXT, width=16, stages=n).eval()
    few.load_state_dict(model.state_dict())
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        every, pooled = model.stage_similarities(images)
        maps, same = few.stage_similarities(images)
    assert len(maps) == len(few.stage_weights()) == n
    assert few.stage_weights().sum().item() == pytest.approx(1)
    for a, b in zip(maps, every[-n:], strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(pooled, same)


def test_without_a_pyramid_a_stage_knows_nothing_of_the_others():
    model = ScrapSeg(pocket_image_encoder(), TEXT, width=16, top_down=False).eval()
    maps = [torch.randn(1, c, 8, 8) for c in model.encoder.channels]
    alone = model.pyramid(maps)
    changed = model.pyramid([maps[0], *[m + 1 for m in maps[1:]]])
    assert torch.equal(alone[0], changed[0]) and not torch.equal(alone[1], changed[1])


def test_the_scale_is_that_of_the_image(model):
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        small = F.interpolate(images, size=(96, 96), mode="bilinear", antialias=True)
        expected = F.interpolate(model(small).logits, size=(64, 64), mode="bilinear")
        model.scale = 1.5
        found = model(images).logits
    assert found.shape == (1, 5, 64, 64)
    # Upsampled once, not twice: the same but for interpolation.
    assert (found - expected).abs().mean() < 0.1 * expected.std()


@pytest.mark.parametrize(
    "trained, learning",
    [
        ("all", {"stem", "middle block", "last block", "pyramid", "projections"}),
        ("last two thirds", {"middle block", "last block", "pyramid", "projections"}),
        ("last stage", {"last block", "pyramid", "projections"}),
        ("head", {"pyramid", "projections"}),
        ("projections", {"projections"}),
    ],
)
def test_only_the_named_part_learns(trained, learning):
    model = ScrapSeg(pocket_image_encoder(), TEXT, width=16, trained=trained).train()
    parts = {
        "stem": model.encoder.visual.trunk.conv_stem,
        "middle block": model.encoder.visual.trunk.blocks[3],
        "last block": model.encoder.visual.trunk.blocks[-1],
        "pyramid": model.pyramid,
        "projections": model.projections,
    }
    before = {k: {n: v.clone() for n, v in m.state_dict().items()} for k, m in parts.items()}
    optimizer = torch.optim.AdamW(model.param_groups(1e-2, 0.9, 1e-2))
    out = model(torch.randn(2, 3, 64, 64))
    (out.logits.square().mean() + out.image_logits.square().mean()).backward()
    optimizer.step()
    # Batch statistics are part of it: what does not learn must not drift.
    moved = {
        k
        for k, m in parts.items()
        if any(not torch.equal(v, before[k][n]) for n, v in m.state_dict().items())
    }
    assert moved == learning


@pytest.mark.parametrize(
    "option", [{"trained": "half"}, {"fusion": "max"}, {"stages": 5}, {"scale": 0}]
)
def test_an_unknown_option_is_named(option):
    with pytest.raises(ValueError, match=str(next(iter(option.values())))):
        ScrapSeg(pocket_image_encoder(), TEXT, width=16, **option)
