"""X-ray: two radiographs in, a CT volume in HU with its doubts out."""
