"""Engines of every kind on a TFUScapes-format data set, in the published metrics and in ours."""
