"""Neural network modules only: no files, no paths, no command line."""
