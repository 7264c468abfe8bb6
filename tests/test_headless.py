"""The engines and the command line run where there is no window, no napari and no 3-D renderer."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# In a process of its own: this one may have imported any of them already.
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys

for name in ("napari", "qtpy", "superqt", "magicgui", "vispy", "pyvista", "PyQt6", "PySide6"):
    sys.modules[name] = None  # makes `import name` fail

import train_cli
import trifocal


def fail(name):
    raise


for module in pkgutil.walk_packages(trifocal.__path__, "trifocal.", onerror=fail):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_every_engine_module_imports_without_the_gui_packages():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING], cwd=ROOT, capture_output=True, text=True, timeout=300
    )

    assert done.returncode == 0, done.stderr
    assert "trifocal.cli" in done.stdout.splitlines()
    assert "trifocal.image" in done.stdout.splitlines()
