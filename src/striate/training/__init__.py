"""Training: recipes, optimizers, the one loop, checkpoints, and the report of a run."""
