"""Faces: detection, dense landmarks, linking over time, zero-phase smoothing, alignment."""
