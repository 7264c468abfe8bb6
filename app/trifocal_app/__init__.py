"""The trifocal desktop app: a napari window with the engines' widgets and a sample head."""
