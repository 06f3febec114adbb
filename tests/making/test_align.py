"""Alignment: its losses against loops, its batches, what it learns, and the shipped file."""

from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_studio import write_studio
from torch.nn import functional as F

from making.align import AlignError
from making.align import align as module
from making.align.__main__ import main
from making.align.align import AlignConfig, align, batches_of, mean_loss, steps_in
from making.align.card import MARKS, card_tables, refresh_card
from making.align.collage import (
    CELL,
    MIN_CELLS,
    CollageConfig,
    View,
    caption_relation,
    draw_cutout,
    draw_view,
    lay,
)
from making.align.evaluate import class_log_odds, retrieval, zero_shot
from making.align.losses import (
    Aligner,
    align_loss,
    caption_loss,
    dense_loss,
    multi_positive_loss,
)
from making.align.run import save_aligned
from making.align.studio import Facts, Studio, StudioObject, StudioRecord, TextBank, relation
from scrapseg.data.classes import CLASSES
from scrapseg.data.scrapsim import ScrapSim
from scrapseg.models.pocket import ALIGNED, load_aligned, pocket_model
from scrapseg.models.weights import WeightsChecksum, WeightsError, WeightsMissing

SMALL = CollageConfig(size=64, pastes=(1, 3), texts=24, captions=16)
CONFIG = AlignConfig(steps=4, batch_size=4, evals=1, collage=SMALL)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    root = write_studio(tmp_path_factory.mktemp("align") / "studio", images=60)
    train, heldout = Studio(root, "train"), Studio(root, "heldout")
    bank = TextBank(train, heldout, cache_dir=root / "cache")
    return SimpleNamespace(root=root, train=train, heldout=heldout, bank=bank)


@pytest.fixture(scope="module")
def model():
    return pocket_model()


# --- losses


def test_multi_positive_loss_is_the_loop():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 7, generator=generator)
    truth = torch.randint(-1, 2, (20, 7), generator=generator)
    truth[:, 3] = 1
    for row, row_truth, loss in zip(
        logits.tolist(), truth.tolist(), multi_positive_loss(logits, truth).tolist(), strict=True
    ):
        right = sum(math.exp(x) for x, t in zip(row, row_truth, strict=True) if t == 1)
        wrong = sum(math.exp(x) for x, t in zip(row, row_truth, strict=True) if t == -1)
        assert loss == pytest.approx(-math.log(right / (right + wrong)), abs=1e-5)


def test_with_one_right_answer_it_is_cross_entropy():
    logits, target = torch.randn(9, 5), torch.randint(5, (9,))
    truth = 2 * F.one_hot(target, 5) - 1
    expected = F.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(multi_positive_loss(logits, truth), expected)


def test_what_cannot_be_told_has_no_gradient():
    logits = torch.randn(1, 3, requires_grad=True)
    multi_positive_loss(logits, torch.tensor([[1, 0, -1]])).sum().backward()
    assert logits.grad[0, 1] == 0
    assert logits.grad[0, 0] < 0 < logits.grad[0, 2]


def test_dense_loss_is_the_mean_over_regions_of_the_mean_over_cells():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 5, 4, 4, generator=generator)
    regions = torch.randint(-1, 3, (2, 4, 4), generator=generator)
    regions[0, 0] = 2  # of very different sizes
    regions[regions == 1] = 0
    regions[1, 3, 3] = 1
    truth = torch.tensor([[1, -1, -1, 0, -1], [-1, 1, 1, -1, -1], [0, -1, 1, -1, 1]])
    truth = torch.cat([truth, truth[:1]])  # a region without a cell
    per_region = {r: [] for r in range(3)}
    for b, y, x in itertools.product(range(2), range(4), range(4)):
        r = int(regions[b, y, x])
        if r >= 0:
            cell = multi_positive_loss(logits[b, :, y, x][None], truth[r][None])
            per_region[r].append(float(cell))
    expected = np.mean([np.mean(losses) for losses in per_region.values()])
    assert float(dense_loss(logits, regions, truth)) == pytest.approx(expected, abs=1e-5)


def test_caption_loss_without_doubles_is_clips():
    images, captions = (F.normalize(torch.randn(6, 8), dim=1) for _ in range(2))
    logits = 10 * images @ captions.T
    target = torch.arange(6)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    found = caption_loss(images, captions, 2 * torch.eye(6) - 1, torch.tensor(10.0))
    torch.testing.assert_close(found, expected)


def test_captions_of_other_images_count_in_one_direction():
    images, captions = F.normalize(torch.randn(2, 8), dim=1), F.normalize(torch.randn(5, 8), dim=1)
    truth = torch.tensor([[1, -1, -1, 0, -1], [-1, 1, 1, -1, -1]])
    logits = 7 * images @ captions.T
    own = multi_positive_loss(logits[:, :2].T, truth[:, :2].T).mean()
    expected = (multi_positive_loss(logits, truth).mean() + own) / 2
    torch.testing.assert_close(caption_loss(images, captions, truth, torch.tensor(7.0)), expected)


def test_no_plain_image_no_caption_loss():
    nothing = caption_loss(
        torch.zeros(0, 8), torch.ones(3, 8), torch.zeros(0, 3), torch.tensor(1.0)
    )
    assert float(nothing) == 0


# --- batches


def test_a_batch_says_what_is_true_of_what_it_shows(studio, model):
    batch = batches_of(studio.train, studio.bank, model, CONFIG, n=3, seed=5)[1]
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.regions.shape == (4, 64 // CELL, 64 // CELL)
    assert int(batch.regions.max()) == len(batch.truth) - 1
    assert batch.truth.shape[1] == len(batch.text)
    assert bool((batch.truth == 1).any(1).all())
    assert bool((batch.truth == -1).any(1).all())
    # No region is in two images, and each image's background comes first.
    owners = [set(batch.regions[i].unique().tolist()) - {-1} for i in range(4)]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert batch.caption_truth.shape == (len(batch.plain), len(batch.captions))
    assert bool((batch.caption_truth.diagonal() == 1).all())


def test_a_region_is_one_thing_and_a_text_only_wrong_of_what_contradicts_it(studio, model):
    """A batch's regions and table, read back through the views and the vectors."""
    config = replace(CONFIG, collage=replace(SMALL, collage_p=0.0))
    batches = batches_of(studio.train, studio.bank, model, config, n=1, seed=3)
    rng = random.Random(3 * 1_000_003)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3 * 1_000_003)
        views = [draw_view(studio.train, config.collage, rng) for _ in range(4)]
    batch = batches[0]
    cosines = batch.text @ studio.bank.vectors.T
    texts = [studio.bank.texts[int(i)] for i in cosines.argmax(1)]
    told = []
    for view, regions in zip(views, batch.regions, strict=True):
        cells = view.marks[CELL // 2 :: CELL, CELL // 2 :: CELL]
        background = Facts(background=view.record.background)
        for k, facts in enumerate([background, *(thing.facts for thing in view.things)]):
            shown = regions[cells == k].tolist()
            if len(shown) < MIN_CELLS:
                assert set(shown) <= {-1}
                continue
            (r,) = set(shown)
            told.append(r)
            for text, truth in zip(texts, batch.truth[r].tolist(), strict=True):
                expected = relation(text.facts, facts)
                assert truth == expected or (truth == 1 and text.facts.loose)
    assert told == list(range(len(batch.truth))) and len(told) > 8


def test_batches_do_not_depend_on_who_asks(studio, model):
    a, b = (batches_of(studio.train, studio.bank, model, CONFIG, n=4, seed=2) for _ in range(2))
    torch.manual_seed(1)
    first = a[3]
    torch.manual_seed(2)
    _, second = b[0], b[3]
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))
    assert not torch.equal(first.images, a[2].images)
    other = batches_of(studio.train, studio.bank, model, CONFIG, n=4, seed=3)
    assert not torch.equal(first.images, other[3].images)


THING = StudioObject(1, Facts("box", "plastic", "red"), "household", "red box", 99)


def test_paste_lays_the_piece_where_its_mark_is():
    record = StudioRecord("0", "train", "a box", "a white background", (THING,))
    shown = []
    for seed in range(20):
        view = View(torch.zeros(3, 20, 20), torch.zeros(20, 20, dtype=torch.uint8), [], record)
        piece = torch.ones(4, 8, 6)
        piece[3, :, 3:] = 0  # the right half is transparent
        lay(view, piece, THING, random.Random(seed))
        assert view.things == [THING]
        assert torch.equal(view.marks == 1, view.image[0] == 1)
        shown.append(int((view.marks == 1).sum()))
    assert max(shown) == 24  # whole
    assert min(shown) < 24  # cut by the edge


def test_a_cut_out_is_one_object_at_its_scale(studio):
    config = replace(SMALL, paste_scale=(1.0, 1.0), turn=0.0)
    for seed in range(10):
        rng = random.Random(seed)
        twin = random.Random(seed)
        sample = studio.train[twin.randrange(len(studio.train))]
        thing = twin.choice(sample.record.objects)
        piece, found = draw_cutout(studio.train, config, rng)
        assert found == thing
        assert float(piece[3].sum()) == pytest.approx(thing.pixels, rel=0.02)


def test_plain_views_show_what_the_caption_says(studio):
    config = replace(SMALL, collage_p=0.0)
    for seed in range(10):
        view = draw_view(studio.train, config, random.Random(seed))
        assert not view.is_collage
        assert view.things == list(view.record.objects)
        assert view.image.shape == (3, 64, 64)
    collage = draw_view(studio.train, replace(SMALL, collage_p=1.0), random.Random(0))
    assert collage.is_collage
    assert len(collage.things) > len(collage.record.objects)
    assert int(collage.marks.max()) <= len(collage.things)


def record(caption, *phrases):
    objects = []
    for k, (noun, material, colour, phrase) in enumerate(phrases, start=1):
        objects.append(StudioObject(k, Facts(noun, material, colour), "household", phrase, 99))
    return StudioRecord("0", "train", caption, "a white background", tuple(objects))


def test_caption_relation():
    bucket = ("bucket", "plastic", "red", "red bucket")
    same = record("a red bucket", bucket)
    more = record("a red bucket and a box", bucket, ("box", "wood", None, "box"))
    blue = record("a blue bucket", ("bucket", "plastic", "blue", "blue bucket"))
    vague = record("a pail", ("bucket", "steel", None, "pail"))
    assert caption_relation(same, same) == 1
    assert caption_relation(same, more) == 0
    assert caption_relation(more, same) == -1
    assert caption_relation(blue, same) == -1
    assert caption_relation(vague, same) == 0


# --- learning


def test_a_short_alignment_learns_the_shapes(studio):
    config = replace(CONFIG, steps=40, batch_size=8, ema=0.9)
    model = pocket_model()
    before = retrieval(model, studio.heldout, studio.bank, size=64)
    fixed = [
        batches_of(studio.heldout, studio.bank, model, config, n=4, seed=9)[i] for i in range(4)
    ]
    loss_before = mean_loss(Aligner(model).eval(), fixed, 1.0)
    history = align(model, studio.train, studio.heldout, studio.bank, config)
    assert not model.training
    loss_after = mean_loss(Aligner(model), fixed, 1.0)
    assert loss_after.dense < 0.6 * loss_before.dense
    assert loss_after.caption < loss_before.caption
    after = retrieval(model, studio.heldout, studio.bank, size=64)
    assert after["r5_text_to_image"] > max(1.5 * after["chance_r5"], before["r5_text_to_image"])
    assert [row["step"] for row in history if "heldout" in row] == [40]


def test_an_interrupted_alignment_resumes_to_the_same_weights(studio, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "HELDOUT_BATCHES", 2)
    config = replace(CONFIG, steps=6, evals=2)
    parts = (studio.train, studio.heldout, studio.bank, config)
    straight = pocket_model()
    expected = align(straight, *parts)
    state = tmp_path / "run.state"
    looks = []

    def power_cut(*arguments):
        looks.append(1)
        if len(looks) == 2:
            raise KeyboardInterrupt
        return mean_loss(*arguments)

    monkeypatch.setattr(module, "mean_loss", power_cut)
    with pytest.raises(KeyboardInterrupt):
        align(pocket_model(), *parts, state_path=state)
    assert state.is_file()
    resumed = pocket_model()
    assert align(resumed, *parts, state_path=state) == expected
    assert not state.exists()
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


def test_every_part_of_the_image_side_learns(studio):
    model = pocket_model().train()
    batch = batches_of(studio.train, studio.bank, model, CONFIG, n=1, seed=0)[0]
    align_loss(Aligner(model), batch, 1.0).total.backward()
    idle = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert idle == {"normal_bias"}  # there is no normal class among the texts


def test_steps_in_grows_with_the_minutes(studio):
    few = steps_in(0.2, studio.train, studio.bank, CONFIG, probe=1)
    many = steps_in(20, studio.train, studio.bank, CONFIG, probe=1)
    assert 1 <= few < many


# --- evaluation


def test_retrieval_by_hand(studio, monkeypatch):
    """Images whose pooled tokens are chosen: three find their captions, the others the worst."""
    records = studio.heldout.records
    text = studio.bank.vectors[[studio.bank.captions[r.caption] for r in records]]
    pooled = text.clone()
    pooled[3:] = -pooled[3:]
    given = iter(pooled.split(16))

    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.p = torch.nn.Parameter(torch.zeros(1))
            self.encoder = lambda images: SimpleNamespace(pooled=next(given))
            self.mean = self.std = (0.5, 0.5, 0.5)

    found = retrieval(Fixed(), studio.heldout, studio.bank, size=64)
    n = len(records)
    assert found["images"] == n
    assert found["r1_image_to_text"] == pytest.approx(3 / n)


def test_chance_is_that_of_a_random_order(studio):
    """Against many random orders of the held-out captions, doubles among them."""
    sentences = [r.caption for r in studio.heldout.records]
    assert len(set(sentences)) < len(sentences) or len(sentences) > 5
    rng = np.random.default_rng(0)
    hits = [
        s in {sentences[i] for i in rng.permutation(len(sentences))[:5]}
        for _ in range(3000)
        for s in sentences
    ]
    found = retrieval(pocket_model(), studio.heldout, studio.bank, size=64)
    assert found["chance_r5"] == pytest.approx(np.mean(hits), abs=0.01)


def test_zero_shot_is_the_models_own_softmax(tiny_scrapsim, model):
    from sklearn.metrics import average_precision_score

    split = ScrapSim(tiny_scrapsim, "val")
    odds = class_log_odds(model, split)
    assert odds.shape == (len(CLASSES), len(split), 64, 64)
    image = torch.from_numpy(split[1].image).permute(2, 0, 1) / 255
    with torch.no_grad():
        p = model(((image - 0.5) / 0.5)[None]).logits.softmax(1)[0]
    torch.testing.assert_close(
        torch.from_numpy(odds[:, 1].astype(np.float32)).sigmoid(), p, atol=2e-3, rtol=0
    )
    found = zero_shot(model, split)
    labels = np.stack([s.label for s in split])
    assert found["prior/wood"] == pytest.approx((labels == 8).mean())
    expected = average_precision_score((labels == 8).ravel(), odds[8].ravel())
    assert found["ap/wood"] == pytest.approx(expected, abs=1e-6)
    expected = average_precision_score((labels > 0).ravel(), -odds[0].ravel())
    assert found["ap"] == pytest.approx(expected, abs=1e-6)


# --- the file


def scrambled():
    """A model unlike a fresh one in every tensor."""
    model = pocket_model(1)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.dtype.is_floating_point:
                value += 0.01 * torch.rand_like(value)
    return model


def test_round_trip_at_half_precision(tmp_path):
    model = scrambled()
    path = tmp_path / ALIGNED.name
    save_aligned(model, path)
    assert path.stat().st_size < 12e6
    fresh = pocket_model()
    text = fresh.text.clone()
    assert load_aligned(fresh, path) is fresh
    parameters = dict(model.named_parameters())
    for name, value in fresh.state_dict().items():
        if name == "text":
            assert torch.equal(value, text)
        elif name in parameters:
            assert torch.equal(value, model.state_dict()[name].half().float()), name
        else:
            assert torch.equal(value, model.state_dict()[name]), name


def test_the_checksum_is_sha256sums(tmp_path):
    import subprocess

    save_aligned(scrambled(), tmp_path / "w.safetensors")
    command = ["sha256sum", "--check", "w.safetensors.sha256"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


def test_a_changed_or_missing_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(WeightsMissing, match=r"w\.safetensors: file is missing"):
        load_aligned(pocket_model(), path)
    save_aligned(scrambled(), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    model = pocket_model()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(WeightsChecksum, match=r"w\.safetensors: sha256 is .*python -m making"):
        load_aligned(model, path)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    (tmp_path / "w.safetensors.sha256").unlink()
    with pytest.raises(WeightsMissing, match=r"w\.safetensors\.sha256"):
        load_aligned(pocket_model(), path)


def test_weights_of_another_width_are_refused(tmp_path):
    from scrapseg.models.scrapseg import ScrapSeg
    from scrapseg.models.towers import pocket_image_encoder

    path = tmp_path / "w.safetensors"
    save_aligned(pocket_model(), path)
    narrow = ScrapSeg(pocket_image_encoder(), torch.eye(9, 384), width=64)
    with pytest.raises(WeightsError, match=r"w\.safetensors: does not fit this model"):
        load_aligned(narrow, path)


@pytest.mark.skipif(not ALIGNED.is_file(), reason="no aligned weights in this checkout")
def test_the_shipped_file_loads_and_its_card_is_its_records():
    model = load_aligned(pocket_model())
    assert all(torch.isfinite(p).all() for p in model.parameters())
    card = (ALIGNED.parent / "README.md").read_text()
    numbers = json.loads((ALIGNED.parent / "alignment.json").read_text())
    assert card.split(MARKS[0])[1].split(MARKS[1])[0].strip() == (card_tables(numbers))


# --- a whole run


def test_a_whole_run_from_the_command_line(studio, tiny_scrapsim, tmp_path, capsys):
    out = tmp_path / "pocket"
    out.mkdir()
    marks = "\nold\n".join(MARKS)
    (out / "README.md").write_text(f"# Card\n{marks}\nLimits.\n")
    arguments = [
        "train",
        "--studio",
        str(studio.root),
        "--out",
        str(out),
        "--scrapsim",
        str(tiny_scrapsim),
    ]
    assert main([*arguments, "--steps", "2", "--size", "64", "--batch-size", "2"]) == 0
    record = json.loads((out / "alignment.json").read_text())
    assert record["config"]["steps"] == 2
    assert record["studio"]["heldout"]["images"] == len(studio.heldout)
    assert record["zero_shot_val"]["aligned"]["prior"] > 0
    assert not (out / ".align").exists()
    load_aligned(pocket_model(), out / ALIGNED.name)
    card = (out / "README.md").read_text()
    assert record["weights"]["sha256"] in card
    assert "old" not in card
    assert card.startswith("# Card\n")
    assert card.endswith("\nLimits.\n")
    refresh_card(out)
    assert (out / "README.md").read_text() == card

    (out / ".align").mkdir()
    (out / ".align/plan.json").write_text("{}")
    assert main([*arguments, "--steps", "2", "--size", "64", "--batch-size", "2"]) == 1
    assert "unfinished run with other settings" in capsys.readouterr().err
    with pytest.raises(AlignError, match=r"README\.md: cannot refresh"):
        refresh_card(tmp_path)


def test_a_missing_set_is_one_line(tmp_path, capsys):
    assert main(["train", "--studio", str(tmp_path / "nothing"), "--out", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
