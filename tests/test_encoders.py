"""The pocket encoder against open_clip's and timm's own forward passes."""

from __future__ import annotations

import pytest
import torch

from scrapseg.encoders import encode_texts, pocket_clip, pocket_image_encoder


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
