"""What is compared, on what."""
