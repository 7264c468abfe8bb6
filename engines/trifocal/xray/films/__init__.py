"""From radiographs to line integrals of the attenuation: geometry, exposure, display, corrections."""
