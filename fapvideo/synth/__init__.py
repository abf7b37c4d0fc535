"""Animated portraits: video whose motion, expression and masks are known exactly."""
