"""The command line: every verb of ``lowrank`` (the same as ``python -m core``), for people and for programs."""
