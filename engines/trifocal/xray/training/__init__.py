"""Training of the networks; out of reach for plugin and app."""
