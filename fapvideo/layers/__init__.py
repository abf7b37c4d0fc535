"""What was painted, apart from what it was painted on: layers for a compositor."""
