"""Networks that make a volume from films; each file is one of them, or one of their parts."""
