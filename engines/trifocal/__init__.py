"""Headless engines that predict from medical images: focus, keypoints and xray. Research use only."""

__version__ = "0.1.0"

RESEARCH_USE_ONLY = "Research use only - not for clinical use"
