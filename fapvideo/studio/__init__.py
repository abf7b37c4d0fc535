"""The studio: web pages over the same library calls as the command line. No logic of its own."""
