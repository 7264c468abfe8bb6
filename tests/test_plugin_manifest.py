"""What the plugin says of itself, and that napari can use it."""

import json

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest
from PIL import Image as Picture

import napari_trifocal.sample as sample_module
from heads import shell_ct
from napari_trifocal.reader import get_reader, read_either, read_frames, read_volumes, volume_name
from napari_trifocal.writer import data_to_world, layer_image, write_image
from trifocal import io
from trifocal.image import Image, ImageError


@pytest.fixture(scope="module")
def manifest():
    return PluginManifest.from_distribution("trifocal")


def test_the_installed_plugin_has_what_it_promises(manifest):
    contributions = manifest.contributions

    assert manifest.name == "trifocal"
    assert [w.display_name for w in contributions.widgets] == ["Focus", "Keypoints", "X-ray"]
    assert [s.key for s in contributions.sample_data] == ["head", "hc", "a4c", "ivc", "trunk"]
    properties = contributions.configurations["compute"].properties
    assert properties["device"].enum == ["auto", "cpu", "cuda"]
    assert set(properties) == {"device", "cache_folder"}


def test_every_command_can_be_imported(manifest):
    for command in manifest.contributions.commands:
        assert callable(command.python_name and command.exec.__self__ and _load(command.python_name))


def _load(python_name):
    module, _, name = python_name.partition(":")
    return getattr(__import__(module, fromlist=[name]), name)


@pytest.mark.parametrize(
    "id_", ["trifocal.focus_widget", "trifocal.keypoints_widget", "trifocal.xray_widget"]
)
def test_a_widget_is_a_class_that_napari_can_give_its_viewer_to(manifest, id_):
    import inspect

    widget = _load(next(c.python_name for c in manifest.contributions.commands if c.id == id_))

    assert inspect.isclass(widget)
    assert list(inspect.signature(widget).parameters) == ["napari_viewer"]


@pytest.mark.parametrize(
    "name", ["head.nii", "head.nii.gz", "head.NRRD", "head.mha", "head.mhd", "series.zip"]
)
def test_the_reader_takes_volumes(name, tmp_path):
    assert get_reader(str(tmp_path / name)) is read_volumes


@pytest.mark.parametrize("name", ["a.png", "a.JPG", "a.tif", "a.bmp", "a.avi", "a.mp4"])
def test_the_reader_takes_pictures_and_films(name, tmp_path):
    assert get_reader(str(tmp_path / name)) is read_frames


def test_the_reader_looks_into_what_may_be_either_and_leaves_the_rest_alone(tmp_path):
    assert get_reader(str(tmp_path)) is read_either
    assert get_reader(str(tmp_path / "one.dcm")) is read_either
    assert get_reader([str(tmp_path / "a.nii"), str(tmp_path / "b.png")]) is read_either
    assert get_reader([str(tmp_path / "a.nii"), str(tmp_path / "b.txt")]) is None


def test_a_volume_and_pictures_together_are_two_layers(tmp_path):
    io.write(shell_ct(spacing_mm=12.0), tmp_path / "head.nii.gz")
    for name, value in (("1.png", 10), ("2.png", 20)):
        Picture.fromarray(np.full((6, 8), value, np.uint8)).save(tmp_path / name)

    volume, frames = read_either([str(tmp_path / name) for name in ("1.png", "head.nii.gz", "2.png")])

    assert volume[1]["name"] == "head"
    assert frames[0].shape == (2, 6, 8)
    assert np.asarray(frames[0])[:, 0, 0].tolist() == [10, 20]


def test_napari_finds_the_reader_by_the_name_of_a_file(tmp_path):
    manager = PluginManager()
    manager.register(PluginManifest.from_distribution("trifocal"))

    for name in ("head.nii.gz", "head.nrrd", "series.zip", "image.png", "cine.avi"):
        assert [r.command for r in manager.iter_compatible_readers([str(tmp_path / name)])]


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/head.nii.gz", "head"), ("/a/T1.5.mha", "T1.5"), ("/a/dicom", "dicom"), (".zip", ".zip")],
)
def test_a_volume_is_called_by_its_file(path, name):
    assert volume_name(path) == name


def test_what_is_written_reads_back_with_its_place_and_its_record(tmp_path):
    image = shell_ct(spacing_mm=12.0, flip=True)
    io.write(image, tmp_path / "in.nii.gz")
    ((data, look, kind),) = read_volumes(str(tmp_path / "in.nii.gz"))

    written = write_image(str(tmp_path / "out.nii.gz"), data, look)

    assert kind == "image"
    back = io.read(tmp_path / "out.nii.gz")
    assert back.affine == pytest.approx(image.affine, abs=1e-4)
    assert back.array == pytest.approx(image.array)
    record = json.loads((tmp_path / "out.provenance.json").read_text())
    assert written == [str(tmp_path / "out.nii.gz"), str(tmp_path / "out.provenance.json")]
    assert "out.nii.gz" in record["outputs"]


def test_all_of_a_layers_transforms_count():
    affine = np.diag([-2.0, 2, 2, 1])
    affine[:3, 3] = [10, 20, 30]
    attributes = {"scale": (2, 1, 1), "translate": (5, 0, 0), "affine": affine, "name": "moved"}

    world = data_to_world(attributes) @ [3, 0, 0, 1]

    assert world == pytest.approx([10 - 2 * (2 * 3 + 5), 20, 30, 1])


def test_a_moved_layer_is_no_longer_the_image_that_it_was_made_from():
    from napari_trifocal.layers import to_layers

    image = shell_ct(spacing_mm=12.0)
    ((data, look, _),) = to_layers(image)

    assert layer_image(data, look) is image
    moved = layer_image(data, look | {"translate": (3, 0, 0)})
    assert moved.affine[:3, 3] == pytest.approx(image.affine[:3, 3] + [36.0, 0, 0])


def test_a_flat_picture_is_not_written_as_a_volume(tmp_path):
    with pytest.raises((ImageError, ValueError)):
        write_image(str(tmp_path / "flat.nii.gz"), np.zeros((4, 4)), {"name": "flat"})

    assert not list(tmp_path.iterdir())


def test_the_sample_head_is_a_ct_layer(monkeypatch):
    from trifocal.focus import phantoms

    monkeypatch.setattr(phantoms, "sample_head", lambda: Image(np.zeros((3, 4, 5)), np.eye(4), "HU"))

    ((data, look, kind),) = sample_module.sample_head()

    assert (data.shape, look["name"], kind) == ((3, 4, 5), "sample head", "image")


def test_the_sample_ultrasound_knows_its_task_and_its_scale():
    ((still, look, _),) = sample_module.sample_hc()
    clip = look["metadata"]["trifocal_reel"].clips[0]

    assert still.ndim == 2
    assert clip.task.id == "HC"
    assert clip.cine.pixel_spacing_mm[0] > 0


def test_the_sample_cines_move(monkeypatch):
    monkeypatch.setattr(sample_module, "CINE_FRAMES", 3)
    ((frames, look, _),) = sample_module.sample_ivc()

    assert frames.shape[0] == 3
    assert (np.asarray(frames[0]) != np.asarray(frames[1])).any()
    assert look["metadata"]["trifocal_reel"].cine(0).times_s[-1] == pytest.approx(2 * 4.0 / 3)
