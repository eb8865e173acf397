"""A place for one seed: the seed, its lifecycle and what is measured of it."""
