"""Files: paths that users name, strict JSON, and writes that are whole or not at all."""
