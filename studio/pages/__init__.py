"""One folder for each page of the window, in the order of the work."""
