"""The layers that hosts and branches of seeds are made of."""
