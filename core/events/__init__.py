"""The protocol between engine and everyone else: one typed JSON line for everything that happens."""
