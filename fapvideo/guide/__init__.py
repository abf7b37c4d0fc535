"""The reference part warped onto the target's pose and expression, without a network."""
