"""Lowrank Studio's core: everything but the window. Importing it imports nothing else."""

__version__ = "0.1.0"
