from __future__ import annotations

import errno
import hashlib
import json
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import trifocal
from trifocal import checkpoint as room
from trifocal.checkpoint import CheckpointError, bundled, load, load_into, save

CONFIG = {"channels": [4, 8], "seen": {"frequency_hz": [250e3, 250e3]}}
CARD = {"command": "make weights-focus", "seed": 3, "licence": "BSD-3-Clause"}


def net(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, width, 3), nn.BatchNorm3d(width), nn.Conv3d(width, 1, 1))


def saved(folder, **changes):
    arguments = {"engine": "focus", "config": CONFIG, "card": CARD, **changes}
    path = folder / "small.safetensors"
    return path, save(path, arguments.pop("weights", net().state_dict()), **arguments)


def edit(path, **changes):
    about = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**about, **changes}))


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_float32_weights_come_back_bit_for_bit_with_all_that_was_said_about_them(tmp_path):
    path, written = saved(tmp_path, half=False)
    found = load(path)
    assert same(found.weights, dict(net().state_dict()))
    assert same(found.weights, written.weights)
    assert (found.config, found.card, found.engine) == (CONFIG, CARD, "focus")
    assert found.record() == {
        "name": "small",
        "engine": "focus",
        "version": trifocal.__version__,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    assert load(str(path)).record() == found.record()


def test_half_weights_are_rounded_to_float16_once_and_come_back_as_float32(tmp_path):
    path, written = saved(tmp_path)
    for key, value in net().state_dict().items():
        found = load(path).weights[key]
        if value.is_floating_point():
            assert found.dtype == torch.float32
            assert torch.equal(found, value.half().float())
            assert torch.all((found - value).abs() <= value.abs() * 2**-11 + 3e-8)
        else:
            assert torch.equal(found, value)
            assert found.dtype == value.dtype
    again = save(tmp_path / "again.safetensors", written.weights, engine="focus", config=CONFIG, card=CARD)
    assert same(again.weights, written.weights)


@pytest.mark.parametrize("place", [0, 8, 0.3, 0.7, -1])
def test_one_changed_byte_is_refused_before_a_tensor_is_built(tmp_path, monkeypatch, place):
    path, _ = saved(tmp_path)
    data = bytearray(path.read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 1
    path.write_bytes(data)
    built = []
    monkeypatch.setattr(room, "_tensors", lambda *_: built.append(1))
    with pytest.raises(CheckpointError, match=r"was changed; get it again, or remake it with: make w"):
        load(path)
    assert not built


def test_a_file_that_was_cut_short_is_refused(tmp_path):
    path, _ = saved(tmp_path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    with pytest.raises(CheckpointError, match=rf"must have {size} bytes, got {size // 2}"):
        load(path)


def test_bytes_that_are_no_safetensors_are_refused_even_with_their_right_hash(tmp_path):
    path, _ = saved(tmp_path)
    data = b"not a tensor in sight"
    path.write_bytes(data)
    edit(path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(CheckpointError, match="must be a safetensors file"):
        load(path)


def test_weights_that_are_not_finite_are_refused_when_read_and_when_written(tmp_path):
    path, _ = saved(tmp_path)
    weights = {"a": torch.tensor([1.0, float("nan")])}
    data = safetensors.torch.save(weights)
    path.write_bytes(data)
    edit(path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    with pytest.raises(CheckpointError, match="must be finite, got NaN or infinity in a"):
        load(path)
    with pytest.raises(ValueError, match="must be finite"):
        saved(tmp_path, weights=weights)
    with pytest.raises(ValueError, match="half=False"):
        saved(tmp_path, weights={"a": torch.tensor([1e5])})
    _, found = saved(tmp_path, weights={"a": torch.tensor([1e5])}, half=False)
    assert found.weights["a"].item() == 1e5


def test_weights_of_another_engine_are_named_as_such(tmp_path):
    path, _ = saved(tmp_path, engine="keypoints")
    with pytest.raises(CheckpointError, match="focus engine, got weights of the keypoints engine"):
        load(path, "focus")
    assert load(path, "keypoints").engine == "keypoints"


@pytest.mark.parametrize(
    ("suffix", "words"), [(".safetensors", "weights .* missing"), (".json", "json is missing")]
)
def test_a_missing_file_is_named(tmp_path, suffix, words):
    path, _ = saved(tmp_path)
    path.with_suffix(suffix).unlink()
    with pytest.raises(CheckpointError, match=words):
        load(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "must be JSON"),
        ("[1]", 'with "format"'),
        ('{"format": 2}', "needs a newer trifocal"),
        ('{"format": 1, "engine": "focus"}', "must say name"),
        (b"\xff\xfe\x00", "must be JSON"),
    ],
)
def test_a_json_that_cannot_be_read_is_refused(tmp_path, text, words):
    path, _ = saved(tmp_path)
    path.with_suffix(".json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(CheckpointError, match=words):
        load(path)


def test_config_and_card_must_be_json_and_the_path_must_end_with_safetensors(tmp_path):
    with pytest.raises(ValueError, match="what JSON can"):
        saved(tmp_path, config={"spacing": torch.ones(3)})
    with pytest.raises(ValueError, match="what JSON can"):
        saved(tmp_path, card={"error": float("nan")})
    with pytest.raises(CheckpointError, match=r"must end with \.safetensors"):
        save(tmp_path / "a.pt", {}, engine="focus", config={}, card={})
    with pytest.raises(CheckpointError, match=r"must end with \.safetensors"):
        load(tmp_path / "a.pt")
    assert not list(tmp_path.iterdir())


def test_tied_weights_are_written_twice(tmp_path):
    tensor = torch.arange(4.0)
    _, found = saved(tmp_path, weights={"a": tensor, "b": tensor, "c": tensor.reshape(2, 2).T})
    assert torch.equal(found.weights["a"], found.weights["b"])
    assert torch.equal(found.weights["c"], tensor.reshape(2, 2).T)


def test_a_model_takes_weights_that_fit_and_names_those_that_do_not(tmp_path):
    _, found = saved(tmp_path, half=False)
    model = net(seed=1)
    load_into(model, found)
    assert same(model.state_dict(), found.weights)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    _, wide = saved(tmp_path, weights=net(width=5).state_dict())
    with pytest.raises(CheckpointError, match=r"other shape: 0.bias is \(5,\), not \(4,\)"):
        load_into(model, wide)
    weights = dict(net().state_dict())
    weights["extra"] = weights.pop("2.bias")
    _, other = saved(tmp_path, weights=weights)
    with pytest.raises(CheckpointError, match=r"missing: 2\.bias; unexpected: extra"):
        load_into(model, other)
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("fails", ["write_bytes", "write_text"])
def test_a_full_disk_leaves_the_old_pair_whole_and_nothing_else(tmp_path, monkeypatch, fails):
    path, old = saved(tmp_path)

    def full(self, data, *_, **__):
        with self.open("wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, fails, full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            saved(tmp_path, weights=net(seed=5).state_dict())
    assert caught.value.errno == errno.ENOSPC
    assert sorted(file.name for file in tmp_path.iterdir()) == ["small.json", "small.safetensors"]
    assert same(load(path).weights, old.weights)


def test_bundled_models_are_found_by_name(tmp_path, monkeypatch):
    package = tmp_path / "trifocal_assets"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "trifocal_assets", None)  # so that it is put back afterwards
    del sys.modules["trifocal_assets"]
    path, written = saved(package / "models")
    assert bundled("small") == path
    assert load("small").record() == written.record()
    with pytest.raises(CheckpointError, match=r"bundled model \(small\), got 'huge'"):
        load("huge")
    monkeypatch.setitem(sys.modules, "trifocal_assets", None)
    with pytest.raises(CheckpointError, match="trifocal_assets is not installed"):
        load("small")
