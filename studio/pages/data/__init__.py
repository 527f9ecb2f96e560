"""The Data page: which files are trained, what is in them, and what becomes of each row."""
