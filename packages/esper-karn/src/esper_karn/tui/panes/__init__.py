"""The five screens of Sanctum: each arranges panels, and draws what they show."""
