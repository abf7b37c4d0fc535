"""Pasting the part back into the frame's own samples."""
