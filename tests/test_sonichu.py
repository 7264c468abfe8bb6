from __future__ import annotations

import json
import sys
import types

import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image

from trifocal.checkpoint import CheckpointError
from trifocal.keypoints.sonichu import SonichuConfig, SonichuModel, SonichuPreprocessor, soft_argmax
from trifocal.keypoints.sonichu import weights as sonichu_weights
from trifocal.keypoints.sonichu.onednn import FastLinear
from trifocal.keypoints.sonichu.weights import converted
from trifocal.keypoints.tasks import TASKS


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors are slower on two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SMALL = SonichuConfig(hidden=24, layers=2, heads=2, mlp=40, image=64, head_filters=8)

# The card's own, apart from the module that the classes are imported from.
QUICK_START = """
import cv2
import torch
import numpy as np
from trifocal.keypoints.sonichu import SonichuModel, SonichuPreprocessor

model = SonichuModel.from_pretrained(".")
prep = SonichuPreprocessor.from_pretrained(".")

device = "cuda" if torch.cuda.is_available() else "cpu"
model = model.to(device)

img_bgr = cv2.imread("my_ultrasound.png")
img_rgb = cv2.cvtColor(img_bgr, cv2.COLOR_BGR2RGB)
inputs = prep(img_rgb)

kps_norm = model.predict(inputs["pixel_values"].to(device), task="fetal_femur", tta=True)
# kps_norm: (1, n_kp, 2) in [0, 1]
kps_pixel = kps_norm[0].cpu().numpy() * np.array([inputs["orig_w"], inputs["orig_h"]])
print(kps_pixel)
"""


def small(seed=0, config=SMALL):
    torch.manual_seed(seed)
    model = SonichuModel(config)
    with torch.no_grad():  # heads whose maps and statistics are not those of the start
        for name, tensor in model.state_dict().items():
            if "heads" in name and tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape) * 0.3)
    return model.eval()


def images(count=2, side=64, seed=1):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    x = images(side=a.config.image)
    return all(torch.equal(a(x, task).coords, b(x, task).coords) for task in a.config.tasks)


def stored(folder, tensors, config=None):
    folder.mkdir(exist_ok=True)
    safetensors.torch.save_file({k: t.contiguous() for k, t in tensors.items()}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def quick_start(folder, monkeypatch):
    """Run the card's lines in a folder. cv2 is not installed: these two functions of it are pillow's."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 180, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "my_ultrasound.png")
    cv2 = types.SimpleNamespace(
        imread=lambda path: np.asarray(Image.open(path).convert("RGB"))[..., ::-1],
        cvtColor=lambda image, code: image[..., ::-1],
        COLOR_BGR2RGB=4,
    )
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    monkeypatch.chdir(folder)
    names = {}
    exec(QUICK_START, names)
    return names


def test_the_quick_start_of_the_card_runs_on_a_saved_model(tmp_path, monkeypatch, capsys):
    model = small(config=SonichuConfig(hidden=24, layers=1, heads=2, mlp=32, head_filters=8))
    model.save_pretrained(tmp_path)
    SonichuPreprocessor().save_pretrained(tmp_path)
    names = quick_start(tmp_path, monkeypatch)
    assert names["inputs"]["pixel_values"].shape == (1, 3, 256, 256)
    assert (names["inputs"]["orig_w"], names["inputs"]["orig_h"]) == (180, 120)
    assert names["kps_norm"].shape == (1, 2, 2)
    assert (names["kps_pixel"] > 0).all()
    assert (names["kps_pixel"] < [180, 120]).all()
    assert same(names["model"], model)
    assert capsys.readouterr().out.count("[") == 3  # the points, and nothing of the hub's


def test_the_default_model_has_the_124_million_parameters_of_the_card(capsys):
    with torch.device("meta"):
        model = SonichuModel()
    count = sum(p.numel() for p in model.parameters())
    with capsys.disabled():
        print(f" {count / 1e6:.2f} M parameters", end="")
    assert count == 123_616_572
    assert sum(p.numel() for p in model.backbone.parameters()) == 85_843_200
    for task in TASKS.values():
        head = model.heads[task.id]
        assert sum(p.numel() for p in head.parameters()) == 4_195_328 + 257 * task.count


def test_a_head_is_the_classic_decoder_of_transformers():
    from transformers import VitPoseBackboneConfig, VitPoseConfig
    from transformers.models.vitpose.modeling_vitpose import VitPoseClassicDecoder

    about = VitPoseConfig(backbone_config=VitPoseBackboneConfig(hidden_size=24))
    about.num_labels = 4
    theirs = VitPoseClassicDecoder(about).eval()
    head = small(config=SonichuConfig(hidden=24, layers=1, heads=2, mlp=32, image=64)).heads["HC"]
    head.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 24, 4, 4)
    assert torch.equal(head(x), theirs(x))


@pytest.mark.slow
def test_the_quick_start_runs_on_the_whole_124_m_model(tmp_path, monkeypatch):
    SonichuModel().save_pretrained(tmp_path)
    SonichuPreprocessor().save_pretrained(tmp_path)
    assert 490e6 < (tmp_path / "model.safetensors").stat().st_size < 500e6
    names = quick_start(tmp_path, monkeypatch)
    assert names["kps_norm"].shape == (1, 2, 2)
    assert torch.isfinite(names["kps_norm"]).all()


def test_a_soft_argmax_is_the_centre_of_the_cell_that_a_sharp_map_points_at():
    maps = torch.full((1, 2, 4, 8), -50.0)
    maps[0, 0, 0, 0] = maps[0, 1, 3, 5] = 50.0
    assert soft_argmax(maps)[0].tolist() == [[0.5 / 8, 0.5 / 4], [5.5 / 8, 3.5 / 4]]
    assert soft_argmax(torch.zeros(1, 1, 6, 9))[0, 0].tolist() == pytest.approx([0.5, 0.5])


def test_heat_maps_are_four_times_as_fine_as_the_patches_and_one_for_each_point():
    model = small()
    for task in TASKS.values():
        heatmaps, coords = model(images(), task.id)
        assert heatmaps.shape == (2, task.count, 16, 16)
        assert coords.shape == (2, task.count, 2)
        assert ((coords > 0) & (coords < 1)).all()


def test_tta_gives_mirrored_points_for_a_mirrored_image():
    model, x = small(), images(3)
    for task in TASKS.values():
        upright = model.predict(x, task.id, tta=True).double().numpy()
        mirrored = model.predict(x.flip(-1), task.id, tta=True).double().numpy()
        mirrored[..., 0] = 1 - mirrored[..., 0]
        np.testing.assert_allclose(task.matched(mirrored, upright), upright, atol=1e-6)


def test_tta_matches_the_ends_of_a_pair_by_distance_where_their_order_is_a_toss_up(monkeypatch):
    # "upper" first: on the mirrored image the network sees the pair tilted the other way by a hair
    upright, mirrored = [[0.2, 0.500], [0.8, 0.501]], [[0.2, 0.500], [0.8, 0.501]]
    model, answers = small(), iter([upright, mirrored])
    monkeypatch.setattr(
        SonichuModel,
        "forward",
        lambda self, x, task: types.SimpleNamespace(coords=torch.tensor([next(answers)])),
    )
    points = model.predict(images(1), "IVC", tta=True)[0]
    np.testing.assert_allclose(points, [[0.2, 0.5005], [0.8, 0.5005]], atol=1e-6)


def test_predicting_neither_changes_the_model_nor_depends_on_its_mode():
    model, x = small(), images()
    expected = model.predict(x, "HC")
    model.train()
    before = {k: t.clone() for k, t in model.state_dict().items()}
    assert torch.equal(model.predict(x, "hc"), expected)
    assert model.training
    assert all(torch.equal(before[k], t) for k, t in model.state_dict().items())


def test_an_unknown_task_is_named_with_the_nine_there_are():
    with pytest.raises(ValueError, match=r"must be one of HC, .*got 'BPD'"):
        small().predict(images(), "BPD")


def test_a_configuration_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="hidden a multiple of heads"):
        SonichuConfig(heads=5)
    with pytest.raises(ValueError, match=r"HC \(4\).*got HC \(5\)"):
        SonichuConfig(tasks={"HC": 5})


def test_linear_layers_by_onednn_are_the_same_within_rounding_and_keep_their_gradients():
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(64, 96), torch.randn(2, 50, 64)
    with torch.no_grad(), FastLinear():
        fast = layer(x)
    torch.testing.assert_close(fast, layer(x), rtol=1e-5, atol=1e-5)
    with FastLinear():
        layer(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, x.sum((0, 1)).expand(96, 64))


# -- the preprocessor


def test_one_grey_channel_becomes_three_normalised_by_imagenet():
    prepared = SonichuPreprocessor()(np.full((50, 70), 255, np.uint8))
    white = [(1 - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)]
    values = prepared["pixel_values"]
    assert (values.shape, prepared["orig_w"], prepared["orig_h"]) == ((1, 3, 256, 256), 70, 50)
    assert values.dtype == torch.float32
    torch.testing.assert_close(values[0, :, 100, 100], torch.tensor(white))
    colour = np.repeat(np.arange(50, dtype=np.uint8)[:, None, None], 3, axis=2).repeat(70, axis=1)
    assert torch.equal(
        SonichuPreprocessor()(colour)["pixel_values"], SonichuPreprocessor()(colour[..., 0])["pixel_values"]
    )


def test_resizing_keeps_the_place_of_a_structure_in_units_of_the_image():
    rows, columns = 310, 474
    y, x = np.mgrid[:rows, :columns]
    blob = np.exp(-((x - 100.0) ** 2 + (y - 210.0) ** 2) / 200)
    pixels = SonichuPreprocessor()(np.rint(255 * blob).astype(np.uint8))["pixel_values"][0, 0].numpy()
    mass = (pixels - pixels.min()) / (pixels - pixels.min()).sum()
    centre = (np.arange(256) + 0.5) / 256
    found = np.array([mass.sum(0) @ centre, mass.sum(1) @ centre]) * [columns, rows]
    np.testing.assert_allclose(found, [100.5, 210.5], atol=0.05)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint16), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(4)],
)
def test_what_is_not_an_8_bit_grey_or_rgb_image_is_refused(image):
    with pytest.raises(ValueError, match="the image must be"):
        SonichuPreprocessor()(image)


def test_preprocessor_settings_come_back_and_transformers_spellings_are_read(tmp_path):
    prep = SonichuPreprocessor(224, (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    prep.save_pretrained(tmp_path / "new")
    assert SonichuPreprocessor.from_pretrained(tmp_path / "new") == prep
    file = tmp_path / "new" / "preprocessor_config.json"
    file.write_text(json.dumps({"size": {"height": 224, "width": 224}, "image_mean": [0.5, 0.4, 0.3]}))
    assert SonichuPreprocessor.from_pretrained(tmp_path / "new") == SonichuPreprocessor(224, (0.5, 0.4, 0.3))
    file.write_text(json.dumps({"size": [224, 256]}))
    with pytest.raises(ValueError, match="square"):
        SonichuPreprocessor.from_pretrained(tmp_path / "new")
    with pytest.raises(CheckpointError, match=r"must hold preprocessor_config\.json"):
        SonichuPreprocessor.from_pretrained(tmp_path)


# -- reading weights by any name


def ijepa_names(model):
    """The model's tensors as I-JEPA's own code (and timm) would name them; heads are left as they are."""
    state = model.state_dict()
    out = {}
    for name, tensor in state.items():
        if not name.startswith("backbone."):
            out[name] = tensor
            continue
        name = name.removeprefix("backbone.").replace("layernorm_before", "norm1")
        name = name.replace("layernorm_after", "norm2").replace("layernorm.", "norm.")
        name = name.replace("layers.", "blocks.").replace("attention.o_proj", "attn.proj")
        name = name.replace("embeddings.patch_embeddings.projection", "patch_embed.proj")
        name = name.replace("embeddings.position_embeddings", "pos_embed")
        if "attention.q_proj" in name:
            parts = [state["backbone." + ours(name).replace("q_proj", f"{x}_proj")] for x in "qkv"]
            out[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
        elif "attention." not in name:
            out[name] = tensor
    return out


def ours(name):
    return name.replace("blocks.", "layers.")


def v4_names(model):
    """As transformers 4 names them."""
    long = {"q": "query", "k": "key", "v": "value"}
    out = {}
    for name, tensor in model.state_dict().items():
        if name.startswith("backbone."):
            name = name.removeprefix("backbone.").replace("layers.", "encoder.layer.")
            for short, word in long.items():
                name = name.replace(f"attention.{short}_proj", f"attention.attention.{word}")
            name = name.replace("attention.o_proj", "attention.output.dense")
            name = name.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        out[name] = tensor
    return out


def v5_names(model):
    return {k.removeprefix("backbone."): t for k, t in model.state_dict().items()}


NAMINGS = {"I-JEPA or timm": ijepa_names, "transformers 4": v4_names, "transformers 5": v5_names}
PREFIXES = (
    "",
    "backbone.",
    "encoder.",
    "model.",
    "module.",
    "_orig_mod.",
    "module._orig_mod.model.backbone.",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("naming", NAMINGS)
def test_a_backbone_comes_back_from_every_naming_and_prefix(naming, prefix, tmp_path):
    model = small()
    named = {k if k.startswith("heads") else prefix + k: t for k, t in NAMINGS[naming](model).items()}
    found = SonichuModel.from_pretrained(stored(tmp_path, named, {"heads": 2}))
    assert found.config == SMALL
    assert same(found, model)
    assert (found.report.naming, found.report.missing, found.report.unexpected) == (naming, (), ())


LAYERS = ("deconv1", "batchnorm1", "deconv2", "batchnorm2", "conv")
HEADS = {
    "transformers": LAYERS,
    "mmpose": ("deconv_layers.0", "deconv_layers.1", "deconv_layers.3", "deconv_layers.4", "final_layer"),
    "sequential": ("0", "1", "3", "4", "6"),
    "sequential inside": ("deconv.0", "deconv.1", "deconv.3", "deconv.4", "out"),
    "heat map": ("deconv.0", "deconv.1", "deconv.3", "deconv.4", "heatmap"),
    "upsampling": ("up1", "bn1", "up2", "bn2", "head_out"),
}
PLACES = ("heads.{}.", "head_{}.", "decoders.{}.", "model.heads.{}.", "keypoint_heads.{}.net.", "{}_head.")


def renamed_heads(model, names, place):
    """The heads by other names of their layers, at another place."""
    table = dict(zip(LAYERS, names, strict=True))
    out = {}
    for key, tensor in model.state_dict().items():
        if key.startswith("heads."):
            _, task, layer, leaf = key.split(".")
            key = f"{place.format(task)}{table[layer]}.{leaf}"
        out[key] = tensor
    return out


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("names", HEADS)
def test_heads_come_back_from_every_naming_of_their_layers(names, place):
    model = small()
    sizes, weights, report = converted(renamed_heads(model, HEADS[names], place), {"heads": 2})
    assert SonichuConfig(**sizes) == SMALL
    assert (report.missing, report.unexpected) == ((), ())
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[k], t) for k, t in model.state_dict().items())


def test_small_letters_and_femur_name_tasks_too():
    model = small()
    tensors = {
        k.replace("heads.fetal_femur", "heads.femur").replace("heads.HC", "heads.hc"): t
        for k, t in model.state_dict().items()
    }
    _, weights, report = converted(tensors, {"heads": 2})
    assert report.heads["HC"] == "heads.hc"
    assert report.heads["fetal_femur"] == "heads.femur"
    assert weights.keys() == model.state_dict().keys()


def test_numbered_heads_follow_the_order_that_the_configuration_lists():
    model, order = small(), ["AOP", "FUGC", "FA", "HC", "IVC", "PLAX", "PSAX", "A4C", "fetal_femur"]
    tensors = {}
    for key, tensor in model.state_dict().items():
        for i, task in enumerate(order):
            key = key.replace(f"heads.{task}.", f"heads.{i}.")
        tensors[key] = tensor
    sizes, weights, _ = converted(tensors, {"heads": 2, "tasks": [{"name": task} for task in order]})
    assert SonichuConfig(**sizes) == SMALL
    assert all(torch.equal(weights[k], t) for k, t in model.state_dict().items())
    # without the order nobody knows which of five heads with four points is whose
    sizes, _, report = converted(tensors, {"heads": 2})
    assert set(sizes["tasks"]) == {"PLAX", "A4C"}
    assert set(report.missing) == set(TASKS) - {"PLAX", "A4C"}


def test_an_extra_head_and_a_missing_one_are_reported_and_only_the_missing_one_refuses(tmp_path):
    model = small()
    tensors = {k: t for k, t in model.state_dict().items() if not k.startswith("heads.IVC.")}
    extra = {k.replace("heads.HC", "heads.shared"): t.clone() for k, t in tensors.items() if "heads.HC" in k}
    found = SonichuModel.from_pretrained(stored(tmp_path, tensors | extra, {"heads": 2}))
    assert found.report.missing == ("IVC",)
    assert set(found.report.unexpected) == set(extra)
    assert torch.equal(found.predict(images(), "HC"), model.predict(images(), "HC"))
    with pytest.raises(ValueError, match=r"must have a head for IVC, and have heads for: HC, FA"):
        found.predict(images(), "IVC")


def test_the_heads_of_some_tasks_can_be_had_alone(tmp_path):
    model = small()
    model.save_pretrained(tmp_path)
    found = SonichuModel.from_pretrained(tmp_path, tasks=["fetal_femur", "hc"])
    assert set(found.heads) == set(found.config.tasks) == {"HC", "fetal_femur"}
    assert torch.equal(found.predict(images(), "HC"), model.predict(images(), "HC"))


def test_a_head_of_another_number_of_points_is_not_taken_for_the_task():
    tensors = dict(small().state_dict())
    tensors["heads.HC.conv.weight"], tensors["heads.HC.conv.bias"] = torch.ones(3, 8, 1, 1), torch.ones(3)
    sizes, _, report = converted(tensors, {"heads": 2})
    assert report.missing == ("HC",)
    assert "HC" not in sizes["tasks"]
    assert "heads.HC.deconv1.weight" in report.unexpected


def test_a_bias_of_a_deconvolution_is_taken_into_the_norm_behind_it(tmp_path):
    model, x = small(), images()
    bias = torch.linspace(-1, 1, 8)
    head = model.heads["HC"]
    head.deconv1.bias = torch.nn.Parameter(bias)
    expected = model(x, "HC").coords
    found = SonichuModel.from_pretrained(stored(tmp_path, model.state_dict(), {"heads": 2}))
    torch.testing.assert_close(found(x, "HC").coords, expected)
    assert "heads.HC.deconv1.bias" not in found.state_dict()


def test_a_backbone_alone_is_a_feature_extractor(tmp_path):
    model = small()
    found = SonichuModel.from_pretrained(
        stored(tmp_path, {k: t for k, t in ijepa_names(model).items() if "heads" not in k}, {"num_heads": 2})
    )
    assert torch.equal(found.features(images()), model.features(images()))
    assert found.report.missing == tuple(TASKS)
    with pytest.raises(ValueError, match="heads for: none"):
        found.predict(images(), "HC")


@pytest.mark.parametrize("naming", NAMINGS)
def test_every_tensor_of_the_backbone_is_needed(naming):
    tensors = NAMINGS[naming](small())
    for key in [k for k in tensors if not k.startswith("heads.") and not k.startswith("blocks.0")]:
        with pytest.raises(CheckpointError, match="the backbone must be whole"):
            converted({k: t for k, t in tensors.items() if k != key}, {})


def test_position_embeddings_with_a_row_for_a_class_token_are_refused():
    tensors = ijepa_names(small())
    tensors["pos_embed"] = torch.zeros(1, 17, 24)
    with pytest.raises(CheckpointError, match=r"got 17 = 4 x 4 \+ 1 rows: .* class token"):
        converted(tensors, {})
    tensors["pos_embed"] = torch.zeros(1, 16, 24)
    tensors["cls_token"] = torch.zeros(1, 1, 24)
    with pytest.raises(CheckpointError, match="no class token, and the file has one"):
        converted(tensors, {})


def test_two_backbones_in_one_file_are_refused():
    tensors = ijepa_names(small())
    with pytest.raises(CheckpointError, match=r"in the file once, got pos_embed and encoder\.pos_embed"):
        converted(tensors | {f"encoder.{k}": t for k, t in tensors.items()}, {})
    target = {f"target_encoder.{k}": t for k, t in tensors.items() if "heads" not in k}
    assert set(converted(tensors | target, {})[2].unexpected) == set(target)


def test_the_number_of_attention_heads_is_found_where_configurations_put_it():
    tensors = v5_names(small())
    assert converted(tensors, {})[0]["heads"] == 1  # 24 / 64
    assert converted(tensors, {"num_attention_heads": 3})[0]["heads"] == 3
    assert converted(tensors, {"backbone": {"num_heads": 4}})[0]["heads"] == 4
    assert converted(tensors, {"num_heads": 7})[0]["heads"] == 1  # which 24 is no multiple of


def test_pickles_damaged_files_and_numbers_that_are_not_finite_are_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(
        CheckpointError, match=r"must hold model\.safetensors, got pytorch_model\.bin .*pickled"
    ):
        SonichuModel.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(CheckpointError, match="must be a safetensors file"):
        SonichuModel.from_pretrained(tmp_path)
    tensors = dict(small().state_dict())
    tensors["heads.HC.conv.bias"] = torch.full((4,), torch.nan)
    with pytest.raises(CheckpointError, match=r"NaN or infinity in heads\.HC\.conv\.bias"):
        SonichuModel.from_pretrained(stored(tmp_path, tensors))


def test_an_id_of_the_hub_is_fetched_from_there_and_a_path_that_is_not_there_is_not(tmp_path, monkeypatch):
    model = small()
    model.save_pretrained(tmp_path)
    asked = []

    def fetch(repo_id, filename, **options):
        asked.append((repo_id, filename, options["revision"]))
        return str(tmp_path / filename)

    monkeypatch.setattr(sonichu_weights.huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", fetch_config(tmp_path))
    assert same(SonichuModel.from_pretrained("someone/sonichu", revision="v1"), model)
    assert set(asked) == {("someone/sonichu", "model.safetensors", "v1")}
    for reader in (SonichuModel, SonichuPreprocessor):
        with pytest.raises(CheckpointError, match="must be a folder or"):
            reader.from_pretrained("./nowhere")


def test_what_the_hub_cannot_give_is_one_sentence(monkeypatch):
    def fail(*_, **__):
        raise LocalEntryNotFoundError("no connection\nand more of it")

    monkeypatch.setattr(sonichu_weights.huggingface_hub, "hf_hub_download", fail)
    for reader in (SonichuModel, SonichuPreprocessor):
        with pytest.raises(CheckpointError, match=r"cannot be had .* \(no connection\): give a folder"):
            reader.from_pretrained("someone/sonichu")


def fetch_config(folder):
    return lambda repo_id, filename, **options: str(folder / filename)


def test_half_weights_are_read_as_float32(tmp_path):
    model = small()
    halves = {k: t.half() if t.is_floating_point() else t for k, t in model.state_dict().items()}
    found = SonichuModel.from_pretrained(stored(tmp_path, halves, {"heads": 2}))
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    torch.testing.assert_close(found(images(), "HC").coords, model(images(), "HC").coords, atol=1e-3, rtol=0)
