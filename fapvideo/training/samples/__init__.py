"""Samples to learn from: drawn, covered, kept on disk."""
