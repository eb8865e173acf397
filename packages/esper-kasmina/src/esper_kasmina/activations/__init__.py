"""The kinds of activations in slots, and how they are inferred from an example."""
