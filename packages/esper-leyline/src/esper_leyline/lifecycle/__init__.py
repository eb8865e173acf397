"""The life of a seed: stages, gates, alpha ramps, and the machine that joins them."""
