"""Swap facial parts in a video, each part from its own reference images."""
