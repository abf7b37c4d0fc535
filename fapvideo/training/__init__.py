"""Training bundles and adapters with the code that inference runs."""
