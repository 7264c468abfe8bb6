"""Starting windows in processes of their own."""

import subprocess
import sys

BARE = """
import napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(ndisplay=3)
for _ in range(10):
    QApplication.processEvents()
"""
APP = """
from trifocal_app.window import make_window
from qtpy.QtWidgets import QApplication
viewer, widget = make_window([])
for _ in range(10):
    QApplication.processEvents()
"""
CLOUD = APP + "assert widget.wait(120)\nfor _ in range(10):\n    QApplication.processEvents()\n"


def start(code):
    """Run a script that opens a window, to its end."""
    subprocess.run([sys.executable, "-c", code + "import os; os._exit(0)\n"], check=True, capture_output=True)
