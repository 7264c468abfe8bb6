"""The headless front door: simulate, train and evaluate, with no window and no napari.

`python train_cli.py --help` says what there is. It is the `trifocal` command, for a machine with no desktop.
"""

import sys

from trifocal.cli import main

if __name__ == "__main__":
    sys.exit(main())
