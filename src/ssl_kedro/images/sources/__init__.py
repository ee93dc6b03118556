"""Sources of images, one file each: a module with a ``SOURCE``; found by name."""
