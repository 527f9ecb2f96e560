"""The Runs page: every run there is, what became of it, and what can be done with it."""
