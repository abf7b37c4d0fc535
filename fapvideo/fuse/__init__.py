"""Mask-based fusion of tokens and additive injection into a UNet."""
