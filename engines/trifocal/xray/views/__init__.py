"""Which view a film shows, and whether two films belong together."""
