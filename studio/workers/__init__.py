"""Work off the main thread: short tasks, and the thread that watches an engine."""
