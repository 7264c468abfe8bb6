import csv
import json
import shlex

import nibabel
import numpy as np
import pytest

from heads import shell_ct
from trifocal import io
from trifocal.cli import main
from trifocal.focus.pose import Pose
from trifocal.image import Image

FILES = {"pressure.nii.gz", "summary.json", "pose.json", "figures.csv", "scene.png", "provenance.json"}
COARSE = "--points-per-wavelength 4"


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    path = tmp_path_factory.mktemp("head") / "head ct.nii.gz"
    io.write(shell_ct(), path)
    return path


def run(command, ct, out):
    return main([w.replace("CT", str(ct)).replace("OUT", str(out)) for w in shlex.split(command)])


def test_predicting_writes_everything_that_is_promised(ct, tmp_path, capsys):
    out = tmp_path / "result"
    assert run(f"predict focus --ct CT --target -20,10,40 --out OUT {COARSE}", ct, out) == 0
    assert {p.name for p in out.iterdir()} == FILES
    summary = json.loads((out / "summary.json").read_text())
    assert summary["engine"] == "network"
    assert len(summary["weights"]["sha256"]) == 64
    assert 0.05 < summary["transmission"] < 1
    assert np.linalg.norm(np.array(summary["focus_mm"]) - [-20, 10, 40]) == pytest.approx(
        summary["distance_to_target_mm"]
    )
    field = nibabel.load(out / "pressure.nii.gz")
    values = field.get_fdata()
    index = np.unravel_index(values.argmax(), values.shape)
    # the file's own affine puts the focal spot where the summary says it is
    spot = np.argwhere(values > 0.9 * summary["peak_pa"])
    world = nibabel.affines.apply_affine(field.affine, spot)
    assert np.linalg.norm(world - summary["focus_mm"], axis=1).min() < 6
    assert len(index) == 3
    with (out / "figures.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["peak_pa"]) == pytest.approx(summary["peak_pa"])
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["engine"]["name"] == "focus/network"
    assert provenance["weights"] == summary["weights"]
    assert set(provenance["outputs"]) == FILES - {"provenance.json"}
    assert "not for clinical use" in provenance["notice"]
    assert "transmission" in capsys.readouterr().out


def test_the_written_pose_repeats_the_result(ct, tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    assert run(f"predict focus --ct CT --target 0,0,50 --entry 20,0,90 --out OUT {COARSE}", ct, first) == 0
    assert (
        run(f"predict focus --ct CT --pose {first}/pose.json --target 0,0,50 --out OUT {COARSE}", ct, second)
        == 0
    )
    a, b = (nibabel.load(d / "pressure.nii.gz").get_fdata() for d in (first, second))
    np.testing.assert_allclose(a, b, rtol=1e-4)
    figures = [json.loads((d / "summary.json").read_text()) for d in (first, second)]
    assert figures[0]["distance_to_target_mm"] == pytest.approx(figures[1]["distance_to_target_mm"], abs=1e-3)


def test_verify_compares_with_the_solver(ct, tmp_path):
    out = tmp_path / "result"
    assert run(f"predict focus --ct CT --target 0,40,40 --out OUT {COARSE} --verify", ct, out) == 0
    verify = json.loads((out / "summary.json").read_text())["verify"]
    assert set(verify) == {
        *("centroid_error_mm", "lateral_mm", "axial_mm", "argmax_error_mm", "peak_place_error_mm"),
        *("rel_l2", "shape_l2", "peak_error", "transmission_error", "length_error_mm", "width_error_mm"),
        *("iou_6db", "solver_seconds"),
    }
    assert verify["centroid_error_mm"] < 6
    assert (out / "solver.nii.gz").exists()


def test_simulating_saves_the_medium_on_the_same_grid(ct, tmp_path):
    out = tmp_path / "result"
    assert run(f"simulate focus --ct CT --target 0,40,40 --out OUT {COARSE} --save-medium", ct, out) == 0
    pressure, speed, density, attenuation = (
        io.read(out / f"{n}.nii.gz") for n in ("pressure", "sound_speed", "density", "attenuation")
    )
    for image in (speed, density, attenuation):
        np.testing.assert_allclose(image.affine, pressure.affine, atol=1e-4)
        assert image.shape == pressure.shape
    assert 2000 < speed.array.max() < 3100
    assert speed.array.min() == pytest.approx(1500, abs=1)
    assert 1000 < density.array.max() < 2100
    assert attenuation.array.min() >= 0


def test_the_free_field_reaches_its_geometric_focus(ct, tmp_path):
    out = tmp_path / "result"
    assert run(f"predict focus --ct CT --target 0,0,60 --out OUT {COARSE} --engine free-field", ct, out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["transmission"] == pytest.approx(1, abs=0.03)
    assert summary["distance_to_target_mm"] < 8


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--target 0,0,200", "lies 112 mm outside the head"),
        ("--target 0,0", "must be three numbers in RAS mm"),
        ("--target 0,0,nan", "must be three numbers in RAS mm"),
        ("", "give --pose POSE.json, or --target"),
        ("--entry 0,0,90", "give --pose POSE.json, or --target"),
        ("--target 0,0,50 --bowl huge", "no bowl named 'huge'"),
        ("--target 0,0,50 --device cuda", "finds no CUDA GPU"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(ct, tmp_path, capsys, options, sentence):
    out = tmp_path / "result"
    assert run(f"predict focus --ct CT --out OUT {options}", ct, out) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_bowl_inside_the_head_is_refused(ct, tmp_path, capsys):
    Pose.from_apex([0, 0, 40], [0, 0, -1]).to_json(tmp_path / "pose.json")
    out = tmp_path / "result"
    assert run(f"predict focus --ct CT --pose {tmp_path}/pose.json --out OUT", ct, out) == 2
    assert "cuts" in capsys.readouterr().err
    assert not out.exists()


def test_a_ct_without_bone_is_refused(tmp_path, capsys):
    soft = tmp_path / "soft.nii.gz"
    io.write(shell_ct(hu=(40, 50, 35)), soft)
    out = tmp_path / "result"
    assert run("predict focus --ct CT --target 0,0,50 --out OUT", soft, out) == 2
    assert "holds no skull" in capsys.readouterr().err
    assert not out.exists()


def test_a_full_disk_leaves_nothing_behind(ct, tmp_path, capsys, monkeypatch):
    out = tmp_path / "result"

    def full(image: Image, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(io, "write", full)
    assert run(f"predict focus --ct CT --target 0,0,50 --out OUT {COARSE} --engine free-field", ct, out) == 2
    assert "No space left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_box_that_does_not_fit_the_memory_is_refused_before_it_is_made(ct, tmp_path, capsys):
    out = tmp_path / "result"
    assert run("predict focus --ct CT --target 0,0,50 --out OUT --points-per-wavelength 100", ct, out) == 2
    assert "GiB are free: use fewer points per wavelength" in capsys.readouterr().err
    assert not out.exists()


def test_help_names_every_command_and_gives_examples(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(c in text for c in ("predict focus", "simulate focus", "evaluate focus", "self-test", "app"))
    assert "not for clinical use" in text
    assert main(["predict", "focus", "--help"]) == 0
    assert "trifocal predict focus --ct head.nii.gz" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error(capsys):
    assert main(["predict", "weather"]) == 2
    assert "no command 'predict weather'" in capsys.readouterr().err
