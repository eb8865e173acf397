"""JSON Schemas of the view models, and TypeScript types made from them."""
