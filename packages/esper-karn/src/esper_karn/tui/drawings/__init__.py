"""What the panels of Sanctum show: lines drawn from view models, without Textual."""
