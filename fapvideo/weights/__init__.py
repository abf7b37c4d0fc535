"""Bundles and model files: finding, fetching, verifying, building."""
