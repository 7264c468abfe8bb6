"""Procedural trunks in HU: thousands of distinct chests and abdomens for training and tests."""
