"""Sends a run to Weights & Biases from its log; needs the extra ``wandb``."""
