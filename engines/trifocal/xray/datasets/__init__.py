"""Folders of CTs as patients: any layout in, splits by patient, pairs of volume and films."""
