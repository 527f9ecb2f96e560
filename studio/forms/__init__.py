"""Forms made from core's own table of settings: one editor for each kind, nothing declared twice."""
