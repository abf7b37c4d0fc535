"""Photos and videos in, aligned faces out."""
