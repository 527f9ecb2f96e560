"""The window: a native desktop studio on the core. Qt only; no torch, no training logic."""
