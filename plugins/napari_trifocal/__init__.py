"""The trifocal engines in napari: reader, writer, layers and one widget per engine. Research use only."""
