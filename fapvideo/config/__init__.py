"""Configuration: the only home of defaults."""
