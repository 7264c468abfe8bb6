"""What every test runs under: none of the user's settings or caches, no screen for figures, two threads."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# At import, since napari and matplotlib read these once, when they are imported themselves.
_HOME = Path(tempfile.mkdtemp(prefix="trifocal-tests-"))
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
for _kind in ("CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR"):
    _folder = _HOME / _kind.lower()
    _folder.mkdir(mode=0o700)
    os.environ[f"XDG_{_kind}"] = str(_folder)
os.environ["NAPARI_CONFIG"] = str(_HOME / "napari" / "settings.yaml")
os.environ["MPLBACKEND"] = "Agg"
os.environ.setdefault("OMP_NUM_THREADS", "2")

import torch  # noqa: E402 - after the variables above, and before any Qt

torch.set_num_threads(2)
