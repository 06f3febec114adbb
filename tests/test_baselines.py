"""The baselines: same encoder as ours, they learn, and they compute what their papers say."""

import numpy as np
import pytest
import timm
import torch

from scrapseg.baselines import PATCHCORE_GRID, PatchCore, UNet
from scrapseg.losses import segmentation_loss
from scrapseg.weights import efficientnet_lite0_state_dict

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(9)


def imagenet_features(images: torch.Tensor) -> list[torch.Tensor]:
    """Features at strides 2 to 32, from the whole classifier's blocks one by one."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    model.load_state_dict(efficientnet_lite0_state_dict())
    model.eval()
    x, features = model.bn1(model.conv_stem(images)), []
    for number, stage in enumerate(model.blocks):
        x = stage(x)
        if number in (0, 1, 2, 4, 6):
            features.append(x)
    return features


def test_unet_gives_logits_at_the_images_size(unet):
    out = unet(torch.randn(2, 3, 64, 96))
    assert out.logits.shape == (2, 9, 64, 96)
    assert out.image_logits is None


def test_unet_encoder_computes_the_imagenet_features():
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = UNet(9).eval().net.encoder(images)[1:]  # [0] is the image itself
        for ours, reference in zip(found, imagenet_features(images), strict=True):
            torch.testing.assert_close(ours, reference)


def test_unet_is_deterministic_given_the_seed(unet):
    torch.manual_seed(0)
    again = UNet(9)
    assert all(torch.equal(a, b) for a, b in zip(unet.parameters(), again.parameters()))
    torch.manual_seed(1)
    other = UNet(9).net.decoder.state_dict()
    assert any(not torch.equal(other[k], v) for k, v in unet.net.decoder.state_dict().items())


def test_unet_starts_at_the_prior():
    """With all features zero the head gives normal 0.9 and the rest an equal share."""
    head = UNet(5, normal_prior=0.9).net.segmentation_head
    with torch.no_grad():
        p = head(torch.zeros(1, 16, 4, 4)).softmax(1)[0, :, 0, 0]
    torch.testing.assert_close(p, torch.tensor([0.9, 0.025, 0.025, 0.025, 0.025]))


def test_unet_param_groups_cover_every_parameter_once_with_falling_rates(unet):
    groups = unet.param_groups(lr=1.0, layer_decay=0.5, encoder_lr=0.1)
    grouped = [p for g in groups for p in g["params"]]
    assert len({id(p) for p in grouped}) == len(grouped)
    assert {id(p) for p in grouped} == {id(p) for p in unet.parameters()}
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    by_name = {name: rate[id(p)] for name, p in unet.named_parameters()}
    assert by_name["net.segmentation_head.0.weight"] == 1.0
    assert by_name["net.encoder.model.blocks.6.0.conv_pw.weight"] == 0.1
    assert by_name["net.encoder.model.blocks.5.3.conv_pw.weight"] == 0.05
    assert by_name["net.encoder.model.bn1.bias"] == pytest.approx(0.1 * 0.5**16)
    assert {v for k, v in by_name.items() if ".decoder." in k} == {1.0}


def test_unet_learns_one_image_with_gradient_everywhere(unet):
    """A red square on noise, one class: after 15 steps the loss has more than halved."""
    torch.manual_seed(0)
    image, label = torch.randn(2, 3, 64, 64) * 0.3, torch.zeros(2, 64, 64, dtype=torch.long)
    image[:, 0, 16:40, 16:40], label[:, 16:40, 16:40] = 1, 3
    unet.train()
    optimizer = torch.optim.AdamW(unet.param_groups(2e-3, 0.9, 1e-3))
    losses = []
    for _ in range(15):
        loss = segmentation_loss(unet(image).logits, None, label).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    without = [n for n, p in unet.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def textures(n: int, seed: int, size: int = 96) -> list[np.ndarray]:
    """Grey noise images, uint8."""
    rng = np.random.default_rng(seed)
    return [rng.integers(90, 160, (size, size, 1), np.uint8).repeat(3, 2) for _ in range(n)]


def normalised(images: list[np.ndarray]) -> torch.Tensor:
    return torch.tensor(np.stack(images)).permute(0, 3, 1, 2).float() / 255 * 2 - 1


def patch_features(images: list[np.ndarray]) -> torch.Tensor:
    """PatchCore's features at strides 8 and 16: (patches, 40 + 112), Roth et al., section 3.1."""
    with torch.no_grad():
        _, _, fine, coarse, _ = imagenet_features(normalised(images))
    pool = torch.nn.AvgPool2d(3, stride=1, padding=1)
    coarse = torch.nn.functional.interpolate(pool(coarse), fine.shape[-2:], mode="bilinear")
    return torch.cat([pool(fine), coarse], 1).permute(0, 2, 3, 1).flatten(0, 2)


def test_patchcore_scores_are_distances_to_the_nearest_normal_patch():
    """With a bank of all patches, scores before upsampling equal a brute-force cdist."""
    normal, query = textures(2, seed=0), textures(1, seed=1)
    patchcore = PatchCore(coreset=10**6, max_patches=10**6).fit(normal)
    bank = patch_features(normal)
    assert len(patchcore.model.memory_bank) == len(bank)
    expected = torch.cdist(patch_features(query), bank, compute_mode="donot_use_mm_for_euclid_dist")
    raw_scores = torch.nn.Identity()
    raw_scores.forward = lambda scores, size: scores
    patchcore.model.anomaly_map_generator = raw_scores
    found = torch.tensor(patchcore.score_maps(query)).flatten()
    torch.testing.assert_close(found, expected.min(1).values, rtol=1e-3, atol=1e-3)


def test_patchcore_bank_is_a_k_centre_greedy_choice():
    """Each centre is the patch farthest from those before it (Roth et al., algorithm 1)."""
    images = textures(2, seed=0)
    bank = PatchCore(coreset=12, max_patches=10**6, seed=3).fit(images).model.memory_bank
    patches = patch_features(images)
    for k in range(1, len(bank)):
        reach = torch.cdist(patches, bank[:k]).min(1).values
        chosen = torch.cdist(bank[k : k + 1], bank[:k]).min()
        torch.testing.assert_close(chosen, reach.max(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("candidate", PATCHCORE_GRID, ids=str)
def test_patchcore_finds_a_planted_odd_patch(candidate):
    normal, (odd,) = textures(4, seed=0, size=128), textures(1, seed=1, size=128)
    odd[32:64, 64:96] = (220, 30, 30)
    patchcore = PatchCore(layers=candidate["layers"], coreset=100).fit(normal)
    maps = patchcore.score_maps([*normal[:2], odd])
    assert maps.shape == (3, 128, 128) and maps.dtype == np.float32
    inside = maps[2, 36:60, 68:92]
    outside = maps[2].copy()
    outside[:80, 16:] = 0  # receptive field and smoothing reach beyond the patch
    assert inside.min() > outside.max()
    assert inside.max() > maps[:2].max()


def test_patchcore_fit_depends_on_its_own_seed_alone():
    def bank(seed: int) -> torch.Tensor:
        patchcore = PatchCore(coreset=30, max_patches=200, seed=seed)
        before = torch.get_rng_state()
        patchcore.fit(textures(3, seed=0))
        assert torch.equal(torch.get_rng_state(), before)
        return patchcore.model.memory_bank

    torch.manual_seed(7)
    first, again, other = bank(1), bank(1), bank(2)
    assert first.shape == (30, 152)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_patchcore_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"blocks\.9.*has only"):
        PatchCore(layers=("blocks.2", "blocks.9"))
    with pytest.raises(ValueError, match="at least one normal image"):
        PatchCore().fit([])
    with pytest.raises(ValueError, match="Memory bank is empty"):
        PatchCore().score_maps(textures(1, seed=0))
