"""Reference images: checks, alignment, encoding, content-addressed cache."""
