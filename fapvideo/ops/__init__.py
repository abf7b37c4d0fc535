"""Pure helpers without state: geometry, images, seeds, precision, bounded prefetching."""
