"""From flags, files and presets to one whole configuration."""
