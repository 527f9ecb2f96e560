"""Run folders and the processes that fill them: create, launch, watch, stop, list. No torch, no Qt."""
