"""What launch.py needs to set the project up: standard library only, and no part of the installed project."""
