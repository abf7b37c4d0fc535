"""A run: frames from a source through the painter to a sink, and the books."""
