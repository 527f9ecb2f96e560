"""Curves that stay quick with a million points: a plot to pan and zoom, smoothing, and files of what is shown."""
