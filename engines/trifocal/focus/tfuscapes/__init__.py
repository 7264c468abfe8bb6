"""The published format of focused-ultrasound data (TFUScapes): its files, their facts, and our own in that format.

`writer` stays out of this list: it simulates nothing, but it knows the simulated cases, which a viewer must not.
"""

from trifocal.focus.tfuscapes.data_set import DataSet
from trifocal.focus.tfuscapes.sample import Sample, SampleFacts
from trifocal.focus.tfuscapes.surface import bowl_of, surface_voxels

__all__ = ["DataSet", "Sample", "SampleFacts", "bowl_of", "surface_voxels"]
