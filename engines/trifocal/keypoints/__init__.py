"""The keypoints engine: an ultrasound image -> named anatomical points -> measurements."""
