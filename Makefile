# Each target sets up what it needs: a virtual environment in .venv, made again when pyproject.toml or constraints.txt
# change, and the system libraries that a window needs.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
SOURCES := engines plugins app assets tests train_cli.py

# A real window on a virtual display (Qt's own off-screen platform has no OpenGL), whatever the desktop around it. An empty
# NAPARI_CONFIG keeps napari's settings in memory.
WINDOW := env -u QT_API -u WAYLAND_DISPLAY QT_QPA_PLATFORM=xcb NAPARI_CONFIG= \
    xvfb-run -a -s "-screen 0 1400x1000x24 +extension GLX"
PYTEST := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-2} $(WINDOW) $(BIN)/python -m pytest

export PYTHON

.DEFAULT_GOAL := help
.PHONY: help app test test-slow lint format weights-focus weights-keypoints weights-keypoints-story weights-xray bench clean setup libraries virtual-display

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST)

app: libraries setup ## open the desktop app (FILES="a.nii.gz b.json" to open those); with no display, do its work headless
	$(BIN)/trifocal app $(FILES)

test: virtual-display setup ## run the tests, real windows included, on a virtual display
	$(PYTEST) -m "not slow and not benchmark" $(ARGS)

test-slow: virtual-display setup ## run the tests that take minutes
	$(PYTEST) -m slow $(ARGS)

lint: setup ## check style, types, import contracts and the napari manifest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate trifocal

format: setup ## put the sources into their format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Hours on two cores, minutes on a GPU; WORK keeps the cases, so that a second training does not simulate again.
weights-focus: WORK ?= build/focus
weights-focus: MINUTES ?= 31
weights-focus: setup ## remake the weights of the focus engine: simulate the cases, train, put the result into assets
	$(BIN)/trifocal simulate focus --heads 200 --poses 4 --seed 1000 --out $(WORK)/cases
	$(BIN)/trifocal train focus --data $(WORK)/cases --out $(WORK)/run --budget-minutes $(MINUTES) --precision bf16-mixed
	cp $(WORK)/run/focus.safetensors $(WORK)/run/focus.json assets/trifocal_assets/models/

# HC18 is a folder of real images: see docs/training-keypoints.md.
weights-keypoints: WORK ?= build/keypoints
weights-keypoints: MINUTES ?= 55
weights-keypoints: setup ## remake the weights of the keypoints engine (HC18=FOLDER): phantoms, training, into assets
	@test -n "$(HC18)" || { echo 'give the folder of the HC18 images: make weights-keypoints HC18=FOLDER' >&2; exit 1; }
	$(BIN)/trifocal simulate keypoints --images 900 --seed 1000 --out $(WORK)/phantoms
	$(BIN)/trifocal train keypoints --recipe compact --data $(HC18) $(WORK)/phantoms --out $(WORK)/run \
	    --budget-minutes $(MINUTES) --precision bf16-mixed
	cp $(WORK)/run/keypoints.safetensors $(WORK)/run/keypoints.json assets/trifocal_assets/models/

weights-keypoints-story: WORK ?= build/keypoints-story
weights-keypoints-story: MINUTES ?= 40
weights-keypoints-story: setup ## tell SONICHU's training story at a small size on phantoms: teachers, student, tables
	$(BIN)/trifocal simulate keypoints --images 340 --seed 2000000 --out $(WORK)/phantoms
	OMP_NUM_THREADS=1 $(BIN)/trifocal train keypoints --recipe story --data $(WORK)/phantoms --out $(WORK)/run \
	    --budget-minutes $(MINUTES) --precision bf16-mixed

weights-xray: WORK ?= build/xray
weights-xray: MINUTES ?= 50
weights-xray: setup ## remake the weights of the x-ray engine: phantoms, training, into assets
	$(BIN)/trifocal simulate xray --phantoms 700 --seed 10000 --out $(WORK)/phantoms
	$(BIN)/trifocal train xray --recipe lifting --data $(WORK)/phantoms --out $(WORK)/run --seed 1 \
	    --budget-minutes $(MINUTES) --precision bf16-mixed --validate-every 3
	cp $(WORK)/run/xray.safetensors $(WORK)/run/xray.json assets/trifocal_assets/models/

bench: virtual-display setup ## measure times and memory
	$(WINDOW) $(BIN)/python tests/benchmarks/run.py $(ARGS)

clean: ## remove what was built and cached (not .venv)
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(INSTALLED)

# The app takes the display that there is, or does without; tests need a virtual one.
libraries:
	@.ci/system-libraries

virtual-display:
	@.ci/system-libraries --xvfb

# Debian keeps ensurepip in a package of its own; without it, the system's pip puts a pip into the environment.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "trifocal needs Python 3.11 or newer; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@if $(PYTHON) -c 'import ensurepip' 2>/dev/null; then $(PYTHON) -m venv .venv; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	    $(PYTHON) -m venv --without-pip .venv && $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; \
	else echo "Python's venv has no ensurepip and there is no pip; on Debian: apt-get install python3-venv" >&2; exit 1; fi
	@echo 'installing into .venv (3 GB, some minutes)'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
