"""The first pass: who is where, with which reference, and what happens to each frame."""
