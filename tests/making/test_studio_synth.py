"""The studio set's generator: words, plan, resuming, finishing; only rendering needs Blender."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from making.synth import dataset, studio
from making.synth import studio_nouns as nouns
from making.synth import studio_words as words

ROOT = Path(__file__).parents[2]
# Written out here, so that a change of the module's own list cannot hide a slip.
FORBIDDEN = re.compile(
    r"\b(spray\w*|aerosols?|gas cartridges?|pressuri[sz]ed|hoses?|tyres?|tires?|"
    r"rubber (?:tube|seal)s?)\b"
)
SEEDS = [(number, seed) for seed in (words.SEED, 1, 2) for number in range(1000)]


def said(number: int, seed: int) -> tuple[words.ImageSpec, str, list[str]]:
    spec = words.plan(number, seed)
    relation = ("next to", "on", "behind", "in front of")[number % 4]
    text, phrases = words.caption(spec, range(len(spec.objects)), relation, spec.rng(3))
    return spec, text, phrases


def test_the_set_is_as_varied_as_promised():
    assert len(nouns.NOUNS) >= 60
    assert len(nouns.MATERIALS) >= 12
    assert len(nouns.COLOURS) >= 10
    assert {noun.category for noun in nouns.NOUNS.values()} == set(nouns.CATEGORIES)
    for name, noun in nouns.NOUNS.items():
        assert noun.materials, name
        for material in noun.materials:
            assert material in nouns.MATERIALS, (name, material)
        assert set(noun.colours) <= {*nouns.COLOURS, None}, name
    drawn = [thing for number, seed in SEEDS for thing in words.plan(number, seed).objects]
    assert {thing.noun for thing in drawn} == set(nouns.NOUNS)
    assert {thing.material for thing in drawn} == set(nouns.MATERIALS)
    assert {thing.colour for thing in drawn} == {*nouns.COLOURS, None}
    assert {words.plan(n, s).background for n, s in SEEDS[:1000]} == set(nouns.BACKGROUNDS)
    assert min(Counter(thing.noun for thing in drawn).values()) >= 8


def test_held_out_words_are_nowhere():
    for name, noun in nouns.NOUNS.items():
        for word in (name, *noun.also):
            assert not FORBIDDEN.search(word.lower()), word
    for number, seed in SEEDS:
        text = said(number, seed)[1].lower()
        assert not FORBIDDEN.search(text), text
    for text in ("a spray can", "two tyres", "a rubber hose", "an aerosol"):
        assert words.held_out(text) and FORBIDDEN.search(text)
    assert words.held_out("an entire rubber mat") == []


def test_captions_say_what_the_plan_holds():
    openings = set()
    for number, seed in SEEDS:
        spec, text, phrases = said(number, seed)
        assert len(phrases) == len(spec.objects)
        assert 1 <= len(spec.objects) <= 3
        assert "  " not in text and text == text.strip()
        for thing, phrase in zip(spec.objects, phrases):
            assert phrase in text
            assert any(phrase.endswith(w) for w in (thing.noun, *nouns.NOUNS[thing.noun].also))
            tokens = set(phrase.replace(thing.noun, "").split())
            others = set(nouns.COLOURS) - {thing.colour}
            assert not tokens & others, (phrase, thing)
        assert not re.search(r"\ba [aeiou]|\ban [^aeiouAEIOU]", text), text
        openings.add(" ".join(text.split()[:2]))
    assert len(openings) > 40
    assert len({said(n, s)[1] for n, s in SEEDS}) > 0.95 * len(SEEDS)


def test_an_image_is_defined_by_seed_and_number():
    assert words.plan(7) == words.plan(7)
    assert said(7, 5)[1:] == said(7, 5)[1:]
    assert [words.plan(n) for n in range(50)] != [words.plan(n, seed=1) for n in range(50)]
    draws = [words.plan(n).rng(k).random() for n in range(100) for k in range(4)]
    assert len(set(draws)) == len(draws)


def test_a_tenth_is_held_out_by_id():
    for start in (0, 130, 7990):
        splits = Counter(words.plan(n).split for n in range(start, start + 100))
        assert splits == {"train": 90, "heldout": 10}
    assert {words.plan(19, seed).split for seed in range(20)} == {"heldout"}


def test_an_object_out_of_sight_is_not_spoken_of():
    spec = next(words.plan(n) for n in range(1000) if len(words.plan(n).objects) == 3)
    text, phrases = words.caption(spec, [2], "", spec.rng(3))
    assert len(phrases) == 1 and phrases[0] in text
    for thing in spec.objects[:2]:
        for word in (thing.noun, *nouns.NOUNS[thing.noun].also):
            assert not re.search(rf"\b{word}\b", text)


def fake_image(spec: words.ImageSpec, out: Path) -> None:
    """Stands in for Blender: writes what render_image writes, one square for the first object."""
    mask = np.zeros((160, 160), np.uint8)
    mask[40:60, 50:80] = 1
    thing = spec.objects[0]
    text, phrases = words.caption(spec, [0], "", spec.rng(3))
    record = {
        "id": spec.id, "seed": spec.seed, "split": spec.split, "caption": text,
        "background": spec.background,
        "objects": [{"id": 1, "noun": thing.noun, "category": nouns.NOUNS[thing.noun].category,
                     "material": thing.material, "colour": thing.colour, "phrase": phrases[0],
                     "pixels": 600}],
    }  # fmt: skip
    picture = Image.fromarray(np.full((160, 160, 3), 90, np.uint8))
    for folder, suffix, kind, image in (
        ("images", "jpg", "JPEG", picture),
        ("instances", "png", "PNG", Image.fromarray(mask)),
    ):
        dataset.write(out / folder / f"{spec.id}.{suffix}", dataset.encoded(image, kind))
    dataset.write(studio.record_of(out, spec), json.dumps(record).encode())


def test_finish_gathers_what_is_whole(tmp_path):
    for number in range(20):
        fake_image(words.plan(number), tmp_path)
    (tmp_path / "images" / "000099.jpg").write_bytes(b"left by a killed worker")
    (tmp_path / "README.md").write_text(
        f"a\n{dataset.MARKS[0]}\nout of date\n{dataset.MARKS[1]}\nb\n"
    )
    studio.finish(tmp_path)
    lines = [json.loads(x) for x in (tmp_path / "metadata.jsonl").read_text().splitlines()]
    assert [x["id"] for x in lines] == [f"{n:06d}" for n in range(20)]
    assert [x["id"] for x in lines] == sorted(p.stem for p in (tmp_path / "images").iterdir())
    sheet = (tmp_path / "README.md").read_text()
    assert "out of date" not in sheet and sheet.startswith("a\n") and sheet.endswith("\nb\n")
    assert "| all | 18 | 2 |" in sheet
    assert Image.open(tmp_path / "contact_sheet.jpg").size[0] > 800


def test_finishing_nothing_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no finished image"):
        studio.finish(tmp_path)


class Here:
    """A pool that works in this process."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, job, *arguments):
        from concurrent.futures import Future

        future = Future()
        future.set_result(job(*arguments))
        return future


def test_finished_images_are_not_made_again(tmp_path, monkeypatch):
    made = []

    def stand_in(spec, out):
        made.append(spec.number)
        fake_image(spec, out)

    monkeypatch.setattr(studio, "render_image", stand_in)
    monkeypatch.setattr(studio, "ProcessPoolExecutor", Here)
    for number in (1, 2):
        fake_image(words.plan(number), tmp_path)
    half = tmp_path / "images" / "000003.jpg"  # killed before its record was written
    half.write_bytes(b"")
    assert studio.render_all(tmp_path, images=4, jobs=1) == 2
    assert sorted(made) == [0, 3]
    assert studio.render_all(tmp_path, images=4, jobs=1) == 0


# --- with Blender ---------------------------------------------------------------------------------

PYTHON = os.environ.get("SCRAPSEG_BPY_PYTHON") or (
    sys.executable if importlib.util.find_spec("bpy") else None
)
needs_blender = pytest.mark.skipif(
    PYTHON is None,
    reason="no bpy here; set SCRAPSEG_BPY_PYTHON to the Blender environment's python",
)
TWICE = """
import sys
from pathlib import Path
from making.synth import studio
from making.synth.studio_scene import IMPURITY_SLUGS
from making.synth.shapes import SHAPES
from making.synth.studio_nouns import NOUNS
from making.synth.studio_words import plan
assert set(NOUNS) == set(SHAPES) | set(IMPURITY_SLUGS)
first, second = (Path(sys.argv[1]) / x for x in "ab")
three = next(n for n in range(1000) if len(plan(n, 5).objects) == 3)
studio.render_image(plan(three, 5), first)
studio.render_image(plan(three + 1, 5), second)  # what was made before must not matter
studio.render_image(plan(three, 5), second)
assert studio.is_finished(second, plan(three, 5))
(second / "images" / f"{three:06d}.jpg").unlink()
assert not studio.is_finished(second, plan(three, 5))  # though its record is there
print(three)
"""


@needs_blender
def test_the_same_seed_gives_the_same_labels(tmp_path):
    done = subprocess.run(
        [PYTHON, "-c", TWICE, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    name = f"{int(done.stdout.split()[-1]):06d}"
    texts = [(tmp_path / x / ".records" / f"{name}.json").read_text() for x in "ab"]
    assert texts[0] == texts[1]
    masks = [(tmp_path / x / "instances" / f"{name}.png").read_bytes() for x in "ab"]
    assert masks[0] == masks[1]
    record = json.loads(texts[0])
    mask = np.asarray(Image.open(tmp_path / "a" / "instances" / f"{name}.png"))
    assert mask.shape == (160, 160) and mask.dtype == np.uint8
    assert set(np.unique(mask)) == {0, *(thing["id"] for thing in record["objects"])}
    for thing in record["objects"]:
        assert (mask == thing["id"]).sum() == thing["pixels"] >= 40
        assert thing["phrase"] in record["caption"]
    picture = Image.open(tmp_path / "a" / "images" / f"{name}.jpg")
    assert picture.size == (160, 160) and picture.mode == "RGB"
    assert np.asarray(picture).std() > 5
