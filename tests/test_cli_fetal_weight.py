"""`trifocal fetal-weight`: grams by the formula that is named, or one sentence."""

import pytest

from trifocal.cli import main

ABDOMEN_AND_FEMUR = ("--ac-mm", "310", "--fl-mm", "73")


@pytest.mark.parametrize(
    ("head", "formulas"),
    [
        (("--hc-mm", "338"), ["HC, AC, FL"]),
        (("--bpd-mm", "93"), ["BPD, AC, FL"]),
        (("--hc-mm", "338", "--bpd-mm", "93"), ["HC, AC, FL", "BPD, AC, FL", "BPD, HC, AC, FL"]),
    ],
)
def test_every_formula_that_the_numbers_allow_gives_its_grams(head, formulas, capsys):
    assert main(["fetal-weight", *ABDOMEN_AND_FEMUR, *head]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" by ")[2] for line in lines] == [f"Hadlock 1985 ({f})" for f in formulas]
    grams = [int(line.split()[1]) for line in lines]
    assert grams == pytest.approx([2903] * len(grams), rel=0.025)  # perinatology.com's, by the last formula
    assert len(head) == 2 or grams[-1] == pytest.approx(2903, abs=1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (ABDOMEN_AND_FEMUR, "needs HC or BPD"),
        ((*ABDOMEN_AND_FEMUR, "--hc-mm", "33.8"), "HC must belong to an age of 14 to 42 weeks"),
        ((*ABDOMEN_AND_FEMUR, "--hc-mm", "338", "--bpd-mm", "9.3"), "BPD must belong to an age"),
        (("--ac-mm", "nan", "--fl-mm", "73", "--hc-mm", "338"), "AC must be a positive length"),
    ],
)
def test_too_little_and_what_is_out_of_range_is_refused_in_one_sentence(words, said, capsys):
    assert main(["fetal-weight", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1
