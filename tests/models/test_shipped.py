"""The weights that come along are found in a checkout and in an installed wheel alike."""

import scrapseg
from scrapseg import files
from scrapseg.models.pocket import ALIGNED
from scrapseg.models.segmenter import SHIPPED


def test_a_checkout_has_them_in_its_data_folder():
    assert {p.parent for p in (ALIGNED, SHIPPED)} == {files.REPOSITORY / "data" / "pocket"}
    assert ALIGNED.is_file() and SHIPPED.is_file()


def test_an_installed_wheel_has_them_inside(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "__file__", str(tmp_path / "scrapseg" / "files.py"))
    (tmp_path / "scrapseg" / "_shipped").mkdir(parents=True)
    assert files.shipped("a.safetensors") == tmp_path / "scrapseg" / "_shipped" / "a.safetensors"


def test_load_without_a_path_gives_the_shipped_model():
    model = scrapseg.load()
    assert model.origin == scrapseg.load(SHIPPED).origin != ""
    assert len(model.classes) == len(model.model.text) == 9
