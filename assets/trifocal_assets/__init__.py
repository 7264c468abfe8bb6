"""What ships with the wheel: models with their cards, samples, icons."""
