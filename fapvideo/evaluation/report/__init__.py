"""What is written about it."""
