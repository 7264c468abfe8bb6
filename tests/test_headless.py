"""The engines and the command line run where there is no window, no napari and no 3-D renderer."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENGINES = ROOT / "engines"

# In a process of its own: this one may have imported any of them already.
BLOCK_THE_GUI = """
import importlib, pkgutil, sys

for name in ("napari", "qtpy", "superqt", "magicgui", "vispy", "pyvista", "PyQt6", "PySide6"):
    sys.modules[name] = None  # makes `import name` fail
"""

IMPORT_EVERY_ENGINE = """
import train_cli
import trifocal


def fail(name):
    raise


for module in pkgutil.walk_packages(trifocal.__path__, "trifocal.", onerror=fail):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""


def run(program: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", BLOCK_THE_GUI + program], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_engine_module_imports_without_the_gui_packages():
    files = (p.relative_to(ENGINES).with_suffix("") for p in ENGINES.glob("trifocal/**/*.py"))
    modules = {".".join(p.parts).removesuffix(".__init__") for p in files if p.name != "__main__"}
    assert {"trifocal.keypoints.predictor", "trifocal.keypoints.phantoms.head"} < modules
    assert set(run(IMPORT_EVERY_ENGINE)) == modules - {"trifocal"}


@pytest.mark.parametrize("module", ["napari_trifocal.layers", "napari_trifocal.reader"])
def test_what_turns_predictions_into_layer_data_imports_without_the_gui_packages(module):
    assert run(f"import {module}; print({module}.__name__)") == [module]
