"""Files: written whole, read without running what is in them."""
