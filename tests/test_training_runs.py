"""Validation curves of several runs in one figure."""

import numpy as np
import pytest
from matplotlib.image import imread

from trifocal.cli import main
from trifocal.training.runs import Run, common_figures, draw_runs

HEAD = "epoch,train_loss,val_score,val_relative_l2,val_focal_position_error_mm\n"


def folder(tmp_path, name, *rows):
    made = tmp_path / name
    made.mkdir()
    (made / "curves.csv").write_text(HEAD + "".join(f"{row}\n" for row in rows))
    return made


def test_a_run_is_read_without_the_cells_that_are_empty(tmp_path):
    run = Run.read(folder(tmp_path, "base", "1,0.5,,,", "2,0.4,0.6,0.6,7", "3,0.3,nan,0.5,6"))
    assert run.name == "base"
    assert run.curves["relative_l2"] == ((2.0, 0.6), (3.0, 0.5))
    assert run.curves["score"] == ((2.0, 0.6),)
    assert "loss" not in run.curves


def test_a_score_that_repeats_another_figure_is_not_drawn_twice():
    line, other = ((1.0, 0.5),), ((1.0, 7.0),)
    same = Run("a", {"score": line, "relative_l2": line, "mm": other})
    assert common_figures([same]) == ["relative_l2", "mm"]
    assert common_figures([Run("b", {"score": line, "mm": other})]) == ["score", "mm"]
    assert common_figures([same, Run("c", {"mm": other, "x": other})]) == ["mm"]


def test_each_run_has_a_colour_of_its_own_and_the_reference_a_dashed_line(tmp_path):
    a, b = Run("a", {"mm": ((0.0, 4.0), (9.0, 4.0))}), Run("b", {"mm": ((0.0, 2.0), (9.0, 2.0))})
    draw_runs(tmp_path / "ab.png", [a, b], {"mm": 3.0})
    drawn = imread(tmp_path / "ab.png")[..., :3]
    rows = []
    for colour in ("1f77b4", "ff7f0e"):
        wanted = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        found = (np.abs(drawn - wanted).max(-1) < 0.01).sum(1)
        assert found.max() > 200
        rows.append(int(found.argmax()))
    middle = sum(rows) // 2  # 3 mm lies between 2 and 4
    dark = (drawn[middle - 4 : middle + 5] < 0.75).all(-1).any(0)
    assert np.abs(np.diff(dark.astype(int))).sum() > 20  # dashes, not one line


def test_the_command_draws_and_names_what_is_missing(tmp_path, capsys):
    a = folder(tmp_path, "a", "1,0.4,0.6,0.6,7", "2,0.3,0.5,0.5,6")
    out = tmp_path / "x.png"
    assert main(["curves", str(a), "--reference", "relative_l2=0.414", "--out", str(out)]) == 0
    assert out.exists()
    for words, message in (
        ([str(tmp_path)], "there is no"),
        ([], "name the folder"),
        ([str(a), "--names", "x", "y"], "one for each"),
        ([str(a), "--reference", "relative_l2"], "figure=value"),
        ([str(a), "--figures", "nothing"], "one that a run has validated"),
    ):
        assert main(["curves", *words, "--out", str(tmp_path / "no.png")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "no.png").exists()


def test_a_run_without_a_validation_or_a_damaged_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no validation yet"):
        Run.read(folder(tmp_path, "early", "1,0.5,,,"))
    with pytest.raises(ValueError, match="damaged"):
        Run.read(folder(tmp_path, "torn", "1,0.5,zzz,,"))
