"""The published format of focused-ultrasound data, TFUScapes, and our own data in it.

`writer` stays out of this list: it knows the simulated cases, which a viewer must not.
"""

from trifocal.focus.tfuscapes.data_set import DataSet
from trifocal.focus.tfuscapes.sample import Sample, SampleFacts
from trifocal.focus.tfuscapes.surface import bowl_of, surface_voxels

__all__ = ["DataSet", "Sample", "SampleFacts", "bowl_of", "surface_voxels"]
