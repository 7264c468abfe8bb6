"""What the user chose in napari's preferences, with a default where there is no napari or no choice."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path


def default_device() -> str:
    """Return "auto", "cpu" or "cuda"."""
    return str(_setting("device") or "auto")


def cache_folder() -> Path:
    """Return the folder for files that may be deleted at any time; it need not exist yet."""
    chosen = _setting("cache_folder")
    return Path(str(chosen)).expanduser() if chosen else user_cache_path("trifocal")


def _setting(name: str) -> object:
    # Imported late: readers and writers run without napari's settings, which read files.
    from napari.settings import get_plugin_settings

    try:
        compute = get_plugin_settings("trifocal").compute
    except KeyError:  # not installed as a plugin: used from a source tree
        return None
    value: object = getattr(compute, name)
    return value
