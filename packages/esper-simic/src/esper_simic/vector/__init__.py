"""Training on Gymnasium vector environments with masked, factored actions."""
