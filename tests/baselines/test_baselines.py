"""The baselines: same encoder as ours, they learn, and they compute what their papers say."""

import json
import pkgutil

import anomalib.models.image
import numpy as np
import open_clip
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from anomalib.models.image.winclip import torch_model
from sklearn.metrics import roc_auc_score

from scrapseg.baselines.anomalib_models import Padim, PatchCore, Stfpm
from scrapseg.baselines.forest import RandomForest
from scrapseg.baselines.registry import MakerError, make
from scrapseg.baselines.supervised import SupervisedNet
from scrapseg.baselines.winclip import WinClip
from scrapseg.experiments.methods import METHODS, NOT_RUN
from scrapseg.models.weights import WeightsMissing, efficientnet_lite0_state_dict
from scrapseg.train.losses import segmentation_loss

torch.set_num_threads(1)
DECODERS = (smp.Unet, smp.FPN, smp.DeepLabV3Plus, smp.Segformer)


@pytest.fixture(scope="module", params=DECODERS)
def net(request) -> SupervisedNet:
    torch.manual_seed(0)
    return SupervisedNet(request.param, 9)


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


def test_a_segmenter_gives_logits_at_the_images_size(net):
    out = net(torch.randn(2, 3, 64, 96))
    assert out.logits.shape == (2, 9, 64, 96)
    assert out.image_logits is None


def test_unet_encoder_computes_the_imagenet_features():
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = SupervisedNet().eval().net.encoder(images)[1:]  # [0] is the image itself
        for ours, reference in zip(found, imagenet_features(images), strict=True):
            torch.testing.assert_close(ours, reference)


def test_every_segmenter_has_the_imagenet_encoder(net):
    tower = efficientnet_lite0_state_dict()
    for key, value in net.net.encoder.model.state_dict().items():
        if "running" not in key and "num_batches" not in key:  # these moved with the test above
            assert torch.equal(value, tower[key]), key


def test_a_segmenter_is_deterministic_given_the_seed():
    def decoder(seed: int) -> dict:
        torch.manual_seed(seed)
        return SupervisedNet().net.decoder.state_dict()

    one, again, other = decoder(0), decoder(0), decoder(1)
    assert all(torch.equal(again[k], v) for k, v in one.items())
    assert any(not torch.equal(other[k], v) for k, v in one.items())


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_segmenter_starts_at_the_prior(decoder):
    """With all features zero the head gives normal 0.9 and the rest an equal share."""
    head = SupervisedNet(decoder, 5, normal_prior=0.9).net.segmentation_head
    with torch.no_grad():
        p = head(torch.zeros(1, head[0].in_channels, 4, 4)).softmax(1)[0, :, 0, 0]
    torch.testing.assert_close(p, torch.tensor([0.9, 0.025, 0.025, 0.025, 0.025]))


def test_param_groups_cover_every_parameter_once_with_falling_rates(net):
    groups = net.param_groups(lr=1.0, layer_decay=0.5, encoder_lr=0.1)
    grouped = [p for g in groups for p in g["params"]]
    assert len({id(p) for p in grouped}) == len(grouped)
    assert {id(p) for p in grouped} == {id(p) for p in net.parameters()}
    rate = {id(p): g["lr"] for g in groups for p in g["params"]}
    by_name = {name: rate[id(p)] for name, p in net.named_parameters()}
    assert by_name["net.segmentation_head.0.weight"] == 1.0
    assert by_name["net.encoder.model.blocks.6.0.conv_pw.weight"] == 0.1
    assert by_name["net.encoder.model.blocks.5.3.conv_pw.weight"] == 0.05
    assert by_name["net.encoder.model.bn1.bias"] == pytest.approx(0.1 * 0.5**16)
    assert {v for k, v in by_name.items() if ".decoder." in k} == {1.0}


def test_a_segmenter_learns_one_image_with_gradient_everywhere(net):
    """A red square on noise, one class: after 15 steps the loss has more than halved."""
    torch.manual_seed(0)
    image, label = torch.randn(2, 3, 64, 64) * 0.3, torch.zeros(2, 64, 64, dtype=torch.long)
    image[:, 0, 16:40, 16:40], label[:, 16:40, 16:40] = 1, 3
    net.train()
    optimizer = torch.optim.AdamW(net.param_groups(2e-3, 0.9, 1e-3))
    losses = []
    for _ in range(15):
        loss = segmentation_loss(net(image).logits, None, label).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
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


@pytest.mark.parametrize("candidate", METHODS["patchcore"].candidates, ids=str)
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
    with pytest.raises(ValueError, match="not fitted"):
        PatchCore().score_maps(textures(1, seed=0))


ONE_CLASS = [s for s, m in METHODS.items() if m.family == "unsupervised" and s != "winclip"]


@pytest.mark.parametrize("method", ONE_CLASS)
def test_a_one_class_method_finds_what_it_has_not_seen(method):
    """A red square on grey noise, from images of which one, not to be learned from, has it too."""
    normal, (odd,) = textures(8, seed=0), textures(1, seed=1)
    where = np.zeros((96, 96), bool)
    where[32:64, 32:64] = True
    odd[where] = (220, 30, 30)
    labels = [np.zeros((96, 96), np.uint8) for _ in normal] + [where.astype(np.uint8)]
    settings = METHODS[method].candidates[0]
    model = make(METHODS[method].maker, seed=0, steps=12, batch_size=4, **settings)
    maps = model.fit([*normal, odd], labels).predict([odd, normal[0]])
    assert maps.labels is None and model.parameters > 1e6
    assert maps.score_maps.shape == (2, 96, 96) and maps.score_maps.dtype == np.float32
    assert roc_auc_score(where.ravel(), maps.score_maps[0].ravel()) > 0.9
    assert maps.score_maps[0].max() > maps.score_maps[1].max()


def test_padim_scores_are_mahalanobis_distances():
    """Position by position, from all 40 channels at stride 8 (Defard et al., equation 2)."""
    normal, query = textures(6, seed=0), textures(1, seed=1)
    padim = Padim(layers=("blocks.2",), features=40).fit(normal)
    with torch.no_grad():
        bank = imagenet_features(normalised(normal))[2].numpy()
        one = imagenet_features(normalised(query))[2].numpy()[0]
        model = padim.model
        features = model.generate_embedding(model.feature_extractor(normalised(query)))
        found = model.anomaly_map_generator.compute_distance(
            features, [model.gaussian.mean, model.gaussian.inv_covariance]
        )
    for y, x in ((0, 0), (5, 7)):
        covariance = np.cov(bank[:, :, y, x], rowvar=False) + 0.01 * np.eye(40)
        gap = one[:, y, x] - bank[:, :, y, x].mean(0)
        expected = np.sqrt(gap @ np.linalg.inv(covariance) @ gap)
        assert found[0, 0, y, x].item() == pytest.approx(expected, rel=1e-3)


def test_a_trained_one_class_method_depends_on_its_seed_alone():
    def student(seed: int) -> torch.Tensor:
        model = Stfpm(lr=0.001, steps=2, batch_size=2, seed=seed).fit(textures(3, seed=0))
        return model.model.student_model.feature_extractor.conv_stem.weight

    one, again, other = student(1), student(1), student(2)
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_every_model_of_anomalib_is_run_or_has_its_reason():
    found = {m.name for m in pkgutil.iter_modules(anomalib.models.image.__path__)}
    run = {"patchcore", "padim", "stfpm", "fastflow", "cfa"}
    assert run | NOT_RUN.keys() == found and not run & NOT_RUN.keys()


def test_winclip_compares_with_normal_images_and_with_prompts(tmp_path, monkeypatch):
    config = open_clip.get_model_config("ViT-B-16-plus-240")
    config["vision_cfg"] |= {"layers": 1, "width": 128}
    config["text_cfg"] |= {"layers": 1}
    (tmp_path / "small-240.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "small-240.json")
    monkeypatch.setattr(torch_model, "BACKBONE", "small-240")
    image, odd = textures(2, seed=3)
    by_words = WinClip(0, tag=None).fit([image]).score_maps([image, odd])
    both = WinClip(4, tag=None).fit([image]).score_maps([image, odd])
    assert by_words.shape == (2, *image.shape[:2])
    # The very image it was shown is at no distance from itself: half of the score is left.
    np.testing.assert_allclose(both[0], by_words[0] / 2, atol=1e-3)
    assert (both[1] > by_words[1] / 2).all()


def test_winclip_without_weights_says_which(monkeypatch):
    with pytest.raises(WeightsMissing, match="ViT-B-16-plus-240"):
        WinClip().fit(textures(1, seed=0))


def coloured(seed: int, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """An image of grey noise with a red and a blue stripe, and its labels 0, 2, 5."""
    rng = np.random.default_rng(seed)
    image, label = rng.integers(90, 160, (size, size, 3), np.uint8), np.zeros((size, size), int)
    for c, colour in ((2, (200, 40, 40)), (5, (40, 40, 200))):
        start = int(rng.integers(0, size - 8))
        image[start : start + 8] = colour
        label[start : start + 8] = c
    return image, label.astype(np.uint8)


def test_random_forest_names_the_colours_it_has_learned():
    images, labels = zip(*(coloured(seed) for seed in range(6)), strict=True)
    forest = RandomForest(sigma_max=2, trees=10).fit(images, labels)
    image, label = coloured(9)
    p = forest.probabilities(image)
    assert p.shape == (9, 48, 48)
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-5)
    assert p[[1, 3, 4, 6, 7, 8]].max() == 0  # classes it has never seen
    found = forest.predict([image])
    assert (found.labels[0] == label).mean() > 0.9
    np.testing.assert_allclose(found.score_maps[0], 1 - p[0])
    assert found.class_scores.shape == (9, 1, 24, 24)
    again = RandomForest(sigma_max=2, trees=10).fit(images, labels).probabilities(image)
    np.testing.assert_array_equal(again, p)


def test_random_forest_goes_back_to_the_true_shares():
    """Labels that have nothing to do with the image: all it can know is how frequent they are."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(4)]
    labels = [(rng.random((64, 64)) < 0.1).astype(np.uint8) for _ in range(4)]

    def impurity_share(prior: float) -> float:
        forest = RandomForest(2, prior, leaf=20, trees=20, pixels=200)
        return float(1 - forest.fit(images, labels).probabilities(images[0])[0].mean())

    assert impurity_share(0) == pytest.approx(0.5, abs=0.05)
    assert impurity_share(1) == pytest.approx(0.1, abs=0.03)


def test_what_cannot_be_fitted_is_named():
    with pytest.raises(MakerError, match=r"baselines\.resnet: cannot be imported as a method"):
        make("scrapseg.baselines.resnet", seed=0, steps=1, batch_size=1)
    with pytest.raises(ValueError, match="at least one labelled image"):
        RandomForest().fit([], [])
    with pytest.raises(ValueError, match="at least one normal image"):
        PatchCore().fit(textures(1, seed=0), [np.ones((96, 96), np.uint8)])
