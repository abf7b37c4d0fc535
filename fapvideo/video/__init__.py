"""Decoding and encoding; the only importer of PyAV."""
