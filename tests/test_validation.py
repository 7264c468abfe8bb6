"""The checks that `trifocal self-test` prints, held as tests, and the self-test's own behaviour."""

from trifocal.cli import CHECK_FAILED, main, self_test
from trifocal.focus.validation import Check, run_checks


def test_every_check_of_the_physics_keeps_its_bound():
    failed = [check for check in run_checks() if not check.passed]
    assert not failed


def test_a_failed_check_is_shown_and_gives_its_exit_code(monkeypatch, capsys):
    checks = [Check("sound", 0.5, 1, "mm"), Check("light", 2, 1, ""), Check("order", 4, 3, "", at_least=True)]
    monkeypatch.setattr(self_test, "run_checks", lambda reference: iter(checks))
    assert main(["self-test"]) == CHECK_FAILED
    lines = capsys.readouterr().out.splitlines()
    states = {name: next(line for line in lines if name in line) for name in ("sound", "light", "order")}
    assert "FAILED" in states["light"]
    assert "FAILED" not in states["sound"] + states["order"]


def test_a_figure_that_is_no_number_fails():
    assert not Check("x", float("nan"), 1, "").passed
    assert not Check("x", float("nan"), 1, "", at_least=True).passed


def test_a_missing_reference_is_one_sentence(capsys):
    assert main(["self-test", "--reference", "nowhere.npz"]) == 2
    assert "there is no file nowhere.npz" in capsys.readouterr().err
