"""A window with the widget, and with a small head in it."""

import pytest
from bench import Bench

from heads import shell_ct
from napari_trifocal import focus_jobs
from trifocal.focus.transducer import PRESETS


@pytest.fixture(scope="session")
def ct():
    return shell_ct(radii_mm=(62.0, 56.0, 51.0))


@pytest.fixture(scope="session")
def ready(ct):
    """The same head for most tests, made ready once."""
    return focus_jobs.Source(image=ct).load(PRESETS["default"])


@pytest.fixture
def bench(make_napari_viewer):
    made = Bench(make_napari_viewer(show=True))
    yield made
    made.widget.close()


@pytest.fixture
def loaded(bench, ct, ready, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(focus_jobs.Source, "load", lambda source, bowl, report: ready)
        bench.load(ct)
    bench.look_at_bowl()
    return bench
