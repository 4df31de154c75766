"""A training tried on a few images before it begins."""
