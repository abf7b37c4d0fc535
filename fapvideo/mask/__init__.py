"""Soft masks of facial parts, and the policy for poor frames."""
