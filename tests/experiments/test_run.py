"""One run end to end on a small drawn dataset: record, cache, skip and repeat."""

from __future__ import annotations

import hashlib
import json
import os
import time
from copy import copy
from dataclasses import asdict, replace

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score, jaccard_score
from slugs import by_slug

from making.align.run import save_aligned
from making.tiles.drawn import draw_tiles, load_drawn
from scrapseg.baselines.registry import make
from scrapseg.data.classes import CLASSES, IGNORED
from scrapseg.experiments import fit, studies
from scrapseg.experiments import run as runner
from scrapseg.experiments.build import build
from scrapseg.experiments.methods import METHODS, MethodsError
from scrapseg.experiments.records import collect
from scrapseg.experiments.run import load_maps, run
from scrapseg.experiments.splits import Splits, label_stack
from scrapseg.experiments.studies import Backbone, RunSpec, Variant
from scrapseg.models import weights
from scrapseg.models.pocket import ALIGNED, pocket_model
from scrapseg.models.predict import Predictions
from scrapseg.models.scrapseg import ScrapSeg
from scrapseg.models.towers import TokenEncoder
from scrapseg.report.tables import main_runs
from scrapseg.train.budget import BudgetError
from scrapseg.train.loop import TrainConfig

CHANGES = {"steps": 2, "batch_size": 2, "crop": 64, "evals": 1}
CONFIG = TrainConfig(**CHANGES)


@pytest.fixture(scope="module")
def splits(tiny_scrapsim):
    return Splits.load(tiny_scrapsim)


def test_a_run_leaves_record_weights_and_maps(splits, tmp_path):
    record = run(RunSpec("scrapseg", shots=1, seed=3, changes=CHANGES), splits, tmp_path)
    on_disk = json.loads((tmp_path / "runs" / f"{record.name()}.json").read_text())
    assert (on_disk["shots"], on_disk["seed"], on_disk["family"]) == (1, 3, "ours")
    assert on_disk["config"]["seed"] == 3
    assert on_disk["provenance"]["data_sha256"] == splits.test.sha256
    assert {"ap", "miou_impurity", "ap_lo", "object_recall_1fa", "train_s", "ms_per_image"} <= set(
        on_disk["metrics"]
    )
    maps = load_maps(tmp_path, record.name())
    assert maps.score_maps.shape == maps.labels.shape == (len(splits.test), 64, 64)
    model = ScrapSeg.load(tmp_path / "cache" / record.name() / "model.safetensors")
    assert model.text.shape == (9, 384)


def test_a_finished_run_is_read_back_until_something_changes(splits, tmp_path, monkeypatch):
    fits = []

    def counting(*args, **kwargs):
        fits.append(1)
        return real(*args, **kwargs)

    real = fit.fit
    monkeypatch.setattr(fit, "fit", counting)
    first = run(RunSpec("scrapseg-random", changes=CHANGES), splits, tmp_path)
    again = run(RunSpec("scrapseg-random", changes=CHANGES), splits, tmp_path)
    assert len(fits) == 1
    assert again.metrics == pytest.approx(first.metrics, nan_ok=True)
    assert again.provenance == first.provenance
    run(RunSpec("scrapseg-random", changes=CHANGES | {"steps": 1}), splits, tmp_path)
    assert len(fits) == 2


def counted(monkeypatch) -> list[str]:
    """The methods of the runs that are made from now on, which cost nothing: a random guess."""
    made = []

    def guess(spec, splits, config, cache, state_path, start=None):
        made.append(spec.method)
        rng = np.random.default_rng(spec.seed)
        of, val = (label_stack(part).shape for part in (getattr(splits, spec.split), splits.val))
        maps = Predictions(rng.random(of, np.float32), None)
        return fit.Outcome(maps, rng.random(val, np.float32), {"train_s": 0.0}, {})

    monkeypatch.setattr(fit, "outcome", guess)
    return made


def test_a_clock_that_was_set_back_makes_nothing_anew(splits, tmp_path, monkeypatch):
    """What was made tomorrow, as it seems, stands; and what is made now of other settings, too."""
    made, specs = counted(monkeypatch), [RunSpec("padim"), RunSpec("padim", seed=1)]
    first = run(specs[0], splits, tmp_path)
    tomorrow = time.time() + 86400
    for path in tmp_path.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    assert run(specs[0], splits, tmp_path).provenance == first.provenance and len(made) == 1
    run(specs[1], splits, tmp_path)
    assert len(made) == 2
    for spec in specs:
        run(spec, splits, tmp_path)
    table = collect(tmp_path)
    assert len(made) == 2 and table["run"].nunique() == 2


@pytest.mark.parametrize(
    ("settings", "other"),
    [({"size": 256}, {"size": 128}), ({"size": 256, "materials": True}, {"size": 256})],
)
def test_another_size_or_other_classes_of_the_data_are_another_run(
    splits, tmp_path, monkeypatch, settings, other
):
    made, test = counted(monkeypatch), copy(splits.test)
    for of in (settings, settings, other):
        test.settings = of
        run(RunSpec("padim"), Splits(splits.train, splits.val, test), tmp_path)
    assert len(made) == 2
    assert runner.settings(RunSpec("padim"), splits, CONFIG)["data"] == {"images": [16, 4, 12]}


def test_photographs_read_at_another_size_are_another_run(tmp_path, monkeypatch):
    made, root = counted(monkeypatch), draw_tiles(tmp_path / "tiles", tiles=4)
    spec = RunSpec("padim", dataset="magnetic-tile")
    for size in (64, 64, 96):
        record = run(spec, load_drawn(root, size=size), tmp_path)
    assert len(made) == 2 and record.config["data"]["size"] == 96


def test_other_packages_weights_or_sources_are_another_run(splits, tmp_path, monkeypatch):
    made, spec = counted(monkeypatch), RunSpec("scrapseg")
    first = run(spec, splits, tmp_path)
    assert run(spec, splits, tmp_path).provenance == first.provenance and len(made) == 1
    monkeypatch.setattr(studies, "installed", lambda package: "0.0")
    run(spec, splits, tmp_path)
    assert len(made) == 2
    weights_file = tmp_path / "pocket-aligned.safetensors"
    weights_file.write_bytes(b"other weights")
    monkeypatch.setattr(studies, "shipped", lambda name: weights_file)
    run(spec, splits, tmp_path)
    assert len(made) == 3
    monkeypatch.setattr(studies, "TRAINED", [])
    run(spec, splits, tmp_path)
    assert len(made) == 4


def test_a_change_that_cannot_matter_may_be_accepted(splits, tmp_path, monkeypatch):
    made, spec = counted(monkeypatch), RunSpec("scrapseg")
    monkeypatch.setattr(studies, "plan_profile", lambda name: {spec.name: spec})
    first = run(spec, splits, tmp_path)
    assert studies.accept("tiny", tmp_path) == []
    monkeypatch.setattr(studies, "TRAINED", [])
    assert studies.accept("tiny", tmp_path) == [spec.name]
    assert run(spec, splits, tmp_path).provenance == first.provenance and len(made) == 1
    monkeypatch.setattr(studies, "EVERY", [])
    run(spec, splits, tmp_path)
    run(spec, splits, tmp_path)
    assert len(made) == 2
    changed = replace(spec, changes={"steps": 9})
    monkeypatch.setattr(studies, "plan_profile", lambda name: {spec.name: changed})
    with pytest.raises(studies.StudyError, match=f"other settings.*{spec.name}"):
        studies.accept("tiny", tmp_path)
    (tmp_path / "cache" / spec.name / "done").unlink()
    assert studies.accept("tiny", tmp_path) == []


def test_a_record_from_elsewhere_has_no_cache_and_is_made_anew(splits, tmp_path, monkeypatch):
    made, spec = counted(monkeypatch), RunSpec("padim")
    run(spec, splits, tmp_path)
    path = tmp_path / "runs" / f"{spec.name}.json"
    path.write_text(path.read_text().replace('"date": "20', '"date": "19'))
    run(spec, splits, tmp_path)
    assert len(made) == 2


def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_been(splits, tmp_path, monkeypatch):
    spec = RunSpec("unet", changes=CHANGES | {"steps": 3, "evals": 2})
    whole = run(spec, splits, tmp_path / "whole")
    real, looks = fit.predict, []

    def stopping(*args, **kwargs):
        looks.append(1)
        if len(looks) == 2:  # the look at val after the last step
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(fit, "predict", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(spec, splits, tmp_path / "stopped")
    (state,) = (tmp_path / "stopped/cache" / spec.name).glob("*.state")
    assert not (tmp_path / "stopped/runs").exists()
    monkeypatch.setattr(fit, "predict", real)
    resumed = run(spec, splits, tmp_path / "stopped")
    assert not state.exists()
    for name in whole.metrics.keys() - {"train_s", "ms_per_image"}:
        np.testing.assert_equal(whole.metrics[name], resumed.metrics[name], err_msg=name)


def test_val_without_impurities_is_refused_before_the_first_step(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "fit", lambda *args, **kwargs: pytest.fail("it trains"))
    val = copy(splits.val)
    val.ids = [i for i in val.ids if not splits.val.sample(i).label.any()]
    bare = Splits(splits.train, val, splits.test)
    for method in ("scrapseg", "padim"):
        with pytest.raises(fit.NothingToChooseBy, match="split 'val' shows an impurity") as error:
            run(RunSpec(method, changes=CHANGES), bare, tmp_path)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())
    with pytest.raises(fit.NothingToChooseBy):
        fit.train("unet", bare, CONFIG)


def test_the_same_seed_gives_the_same_numbers(splits, tmp_path):
    a, b = (run(RunSpec("unet", changes=CHANGES), splits, tmp_path / f) for f in "ab")
    costs = {"train_s", "ms_per_image"}
    for name in a.metrics.keys() - costs:
        np.testing.assert_equal(a.metrics[name], b.metrics[name], err_msg=name)


def test_frozen_and_fine_tuned_start_from_the_same_weights():
    a, b = build("scrapseg", 5), build("scrapseg-frozen", 5)
    assert all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())
    c = build("scrapseg-random", 5)
    different = [k for k, v in a.state_dict().items() if not torch.equal(v, c.state_dict()[k])]
    assert different == ["text"]


@pytest.mark.parametrize("seed", [0, 3, 6, 7])
def test_permuted_words_are_those_of_another_impurity(seed):
    plain, permuted = build("scrapseg", seed).text, build("scrapseg-permuted", seed).text
    assert torch.equal(plain[0], permuted[0])
    whose = [int((plain == row).all(1).nonzero()) for row in permuted[1:]]
    assert sorted(whose) == list(range(1, 9))
    assert all(k != of for k, of in enumerate(whose, start=1))
    assert whose[0] != int((plain == build("scrapseg-permuted", seed + 1).text[1]).all(1).nonzero())


def test_ours_starts_aligned_and_the_control_from_imagenet():
    aligned, imagenet = build("scrapseg", 0), build("scrapseg-imagenet", 0)
    shipped = load_file(ALIGNED)
    stem = "encoder.visual.trunk.conv_stem.weight"
    assert torch.equal(aligned.state_dict()[stem], shipped[stem].float())
    tower = weights.efficientnet_lite0_state_dict()
    assert torch.equal(imagenet.state_dict()[stem], tower["conv_stem.weight"])
    for name in ("unet", "segformer"):
        plain, control = build(name, 0), build(f"{name}-aligned", 0)
        assert torch.equal(plain.net.encoder.model.conv_stem.weight, tower["conv_stem.weight"])
        assert torch.equal(control.net.encoder.model.conv_stem.weight, shipped[stem].float())
        assert type(plain.net) is type(control.net)


def test_a_control_of_the_alignment_starts_from_its_own_weights(monkeypatch, tmp_path):
    name = "scrapseg-to-numbers"
    other = replace(METHODS[name], options={"alignment": str(tmp_path / "own.safetensors")})
    monkeypatch.setitem(METHODS, name, other)
    with pytest.raises(weights.WeightsMissing, match=r"own\.safetensors: file is missing"):
        build(name, 0)
    made = pocket_model(7)
    save_aligned(made, tmp_path / "own.safetensors")
    state, ours = build(name, 0).state_dict(), build("scrapseg", 0)
    assert torch.equal(state.pop("text"), ours.text)
    for key, value in state.items():
        torch.testing.assert_close(value, made.state_dict()[key], rtol=1e-3, atol=1e-4)
    stem = "pyramid.lateral.0.0.weight"
    assert not torch.equal(state[stem], ours.state_dict()[stem])


def test_variants_of_ours_keep_the_aligned_weights_they_can():
    aligned = build("scrapseg", 0)
    mean = build("scrapseg", 0, variant=Variant(fusion="mean", stages=3))
    torch.testing.assert_close(mean.stage_weights(), torch.full((3,), 1 / 3))
    assert torch.equal(mean.pyramid.lateral[0][0].weight, aligned.pyramid.lateral[0][0].weight)
    plain = build("scrapseg", 0, variant=Variant(top_down=False))
    stem = "visual.trunk.conv_stem.weight"
    assert torch.equal(plain.encoder.state_dict()[stem], aligned.encoder.state_dict()[stem])


def test_a_tagged_run_on_val_stays_apart(splits, tmp_path):
    spec = RunSpec(variant=Variant(stages=2), split="val", tag="stages-2", changes=CHANGES)
    record = run(spec, splits, tmp_path)
    path = tmp_path / "runs" / "scrapseg_scrapsim_allshots_s0_stages-2.json"
    on_disk = json.loads(path.read_text())
    assert (on_disk["split"], on_disk["config"]["variant"]["stages"]) == ("val", 2)
    cache = tmp_path / "cache" / path.stem
    with np.load(cache / "maps.npz") as maps:
        assert len(maps["labels"]) == len(splits.val)
    assert ScrapSeg.load(cache / "model.safetensors").stages == 2
    assert len(main_runs(collect(tmp_path))) == 0
    again = run(spec, splits, tmp_path)
    assert again.provenance == record.provenance


def masks(splits, monkeypatch, method, without):
    """Training masks of a run, before they are cropped and turned, and classes of pasted pieces."""
    seen, pasted = [], set()

    def looking(model, train_set, *args, **kwargs):
        seen.extend(train_set[i][1] for i in range(len(train_set)))
        return [{"step": 1, "val": 0.0}]

    def transform(crop, mean, std, pieces, most):
        pasted.update(piece.label for piece in pieces)
        return lambda image, mask: (image, torch.as_tensor(mask).long())

    with monkeypatch.context() as patch:
        patch.setattr(fit, "fit", looking)
        patch.setattr(fit, "train_transform", transform)
        fit.train(method, splits, replace(CONFIG, without=without))
    return torch.stack(seen), pasted


def test_labels_of_the_class_that_is_left_out_go_and_the_later_ones_close_up(splits, monkeypatch):
    plain, pieces = masks(splits, monkeypatch, "scrapseg", None)
    cable = by_slug("cable").index
    assert (plain == cable).any() and (plain > cable).any() and cable in pieces
    gone = plain.masked_fill(plain == cable, IGNORED)
    named, pasted = masks(splits, monkeypatch, "scrapseg-named", "cable")
    assert torch.equal(named, gone) and pasted == pieces - {cable}
    lower = torch.where((gone > cable) & (gone != IGNORED), gone - 1, gone)
    apart, pasted = masks(splits, monkeypatch, "scrapseg", "cable")
    assert torch.equal(apart, lower) and pasted == pieces - {cable}


def test_a_run_without_a_class_leaves_a_model_that_has_its_words(splits, tmp_path):
    text = build("scrapseg", 0).text
    for method in ("scrapseg", "scrapseg-named"):
        spec = RunSpec(method, changes=CHANGES | {"without": "cable"}, tag="without-cable")
        run(spec, splits, tmp_path)
        weights = tmp_path / "cache" / spec.name / "model.safetensors"
        assert torch.equal(ScrapSeg.load(weights).text, text)


def test_a_class_without_labels_is_not_trained(splits, monkeypatch):
    seen = []

    def looking(model, train_set, weights, score, *args, **kwargs):
        seen.extend(train_set[i][1].unique().tolist() for i in range(len(train_set)))
        assert torch.equal(model.text, torch.cat([whole.text[:cable], whole.text[cable + 1 :]]))
        return [{"step": 1, "val": score(model.eval())}]

    monkeypatch.setattr(fit, "fit", looking)
    cable, whole = by_slug("cable").index, build("scrapseg", CONFIG.seed).eval()
    model, history, _ = fit.train("scrapseg", splits, replace(CONFIG, without="cable"))
    held = {label for labels in seen for label in labels}
    assert IGNORED in held and held - {IGNORED} <= {*range(len(CLASSES) - 1)}
    assert torch.equal(model.text, whole.text)  # its words join after training
    # What val chooses by: the mean IoU of the others, where no pixel is taken for a cable.
    images, labels = fit.whole_images(splits.val, whole), fit.label_stack(splits.val)
    with torch.no_grad():
        logits = torch.stack([whole(image[None]).logits[0] for image, _ in images])
    logits[:, cable] = -torch.inf
    found = logits.argmax(1).numpy()
    others = sorted({*np.unique(labels), *np.unique(found)} - {0, cable})
    ious = jaccard_score(labels.ravel(), found.ravel(), labels=others, average="macro")
    assert history[0]["val"] == pytest.approx(ious, abs=1e-3)


def test_a_method_without_words_cannot_leave_a_class_out(splits):
    with pytest.raises(MethodsError, match="'unet' has no words to find 'cable' by"):
        fit.train("unet", splits, replace(CONFIG, without="cable"))


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="'resnet'"):
        build("resnet", 0)


def test_every_trained_method_has_its_chosen_rates():
    for method in METHODS.values():
        if method.is_trained:
            TrainConfig(**method.settings())
            assert method.settings().keys() == {"lr", "encoder_lr"}
        else:
            make(method.maker, seed=0, steps=1, batch_size=1, **method.settings())


@pytest.mark.parametrize("method", ["random-forest", "padim"])
def test_a_fitted_method_leaves_the_same_record(splits, tmp_path, method):
    record = run(RunSpec(method, changes=CHANGES), splits, tmp_path)
    assert (
        record.config["steps"] == 2 and METHODS[method].settings().items() <= record.config.items()
    )
    assert record.metrics["params_m"] > 0 and record.metrics["ms_per_image"] > 0
    assert ("miou" in record.metrics) == (method == "random-forest")
    again = run(RunSpec(method, changes=CHANGES), splits, tmp_path)
    assert again.provenance == record.provenance


@pytest.fixture(scope="module")
def small_vit(tmp_path_factory) -> Backbone:
    """A narrow ViT of four layers with random weights, known to open_clip."""
    config = open_clip.get_model_config("ViT-B-16")
    config["vision_cfg"] |= {"layers": 4, "width": 128, "image_size": 64}
    config["text_cfg"] |= {"layers": 1}
    path = tmp_path_factory.mktemp("configs") / "small-ViT-B-16.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    return Backbone(path.stem)


def test_another_backbone_brings_its_own_towers(small_vit):
    model = build("scrapseg", 0, small_vit)
    assert isinstance(model.encoder, TokenEncoder)
    assert model.text.shape == (9, 512)
    torch.testing.assert_close(model.text.norm(dim=1), torch.ones(9))
    assert not torch.equal(build("scrapseg-random", 0, small_vit).text, model.text)
    for method, stages in (("scrapseg-frozen", 0), ("scrapseg-frozen-vv", 3)):
        frozen = build(method, 0, small_vit).encoder
        assert frozen.value_stages == stages and not frozen.visual.proj.requires_grad


def test_another_backbone_without_a_gpu_stops_before_it_trains(
    small_vit, splits, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BudgetError, match="needs a GPU"):
        run(RunSpec("scrapseg", backbone=small_vit, changes=CHANGES), splits, tmp_path)
    assert "GB of GPU memory" in capsys.readouterr().out
    assert not list((tmp_path / "runs").glob("*"))


def test_a_run_on_another_backbone_says_so(small_vit, splits, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "announce", lambda model, config: None)
    path = tmp_path / "weights.pt"
    torch.save(open_clip.create_model(small_vit.name).state_dict(), path)
    from_file = replace(small_vit, weights_path=str(path))
    record = run(RunSpec("scrapseg", backbone=from_file, changes=CHANGES), splits, tmp_path)
    assert record.backbone == small_vit.name
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert record.config["backbone"] == asdict(from_file) | {"weights_sha256": sha256}
    model = ScrapSeg.load(tmp_path / "cache" / record.name() / "model.safetensors")
    assert isinstance(model.encoder, TokenEncoder)
    given = {"compared": ["scrapseg", "patchcore"], "seed": 0, "steps": 1, "lr": 3e-4}
    ours, other = studies.plan("compared", given | {"backbone": small_vit.name, "encoder_lr": 1e-5})
    assert (ours.backbone.name, other.backbone.name) == (small_vit.name, "pocket")
    assert ours.name.endswith(f"_{small_vit.name}") and other.changes == {"steps": 1}


def test_controls_are_refused_on_the_other_kind_of_tower(small_vit):
    with pytest.raises(ValueError, match="the pocket tower has none"):
        build("scrapseg-frozen-vv", 0)
    with pytest.raises(ValueError, match=f"{small_vit.name} has no such control"):
        build("scrapseg-imagenet", 0, small_vit)
    with pytest.raises(ValueError, match=f"{small_vit.name} has no such control"):
        build("scrapseg-to-text", 0, small_vit)


def test_other_weights_behind_the_same_path_are_another_run(small_vit, tmp_path):
    path = tmp_path / "weights.pt"
    backbone = replace(small_vit, weights_path=str(path))
    seen = []
    for content in (b"one", b"two", b"two"):
        path.write_bytes(content)
        seen.append(runner.weights_identity(backbone))
    expected = [hashlib.sha256(content).hexdigest() for content in (b"one", b"two", b"two")]
    assert seen == [{"weights_sha256": sha256} for sha256 in expected]
    assert runner.weights_identity(small_vit) == {}


def test_a_missing_weight_file_stops_a_run_before_it_trains(small_vit, splits, tmp_path):
    backbone = replace(small_vit, weights_path=str(tmp_path / "nowhere.pt"))
    with pytest.raises(weights.WeightsMissing, match=r"nowhere\.pt: no such weight file"):
        run(RunSpec("scrapseg", backbone=backbone, changes=CHANGES), splits, tmp_path)
    assert not list(tmp_path.iterdir())


def test_class_precision_is_scikit_learns():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 9, (3, 16, 16))
    scores = rng.normal(size=(9, 3, 8, 8)).astype(np.float16)
    found = fit.class_precision(scores, labels)
    seen = labels[:, ::2, ::2] == 4
    expected = average_precision_score(seen.ravel(), scores[4].ravel())
    slug = CLASSES[4].slug
    assert found[f"class_ap/{slug}"] == pytest.approx(expected)
    assert found[f"class_prior/{slug}"] == pytest.approx(seen.mean())
