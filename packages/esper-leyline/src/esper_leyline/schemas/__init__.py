"""The JSON Schemas of the contracts, and what exports them."""
