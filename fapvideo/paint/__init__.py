"""Painters: from a crop with its masks and references to a finished crop."""
