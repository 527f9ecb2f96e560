"""What is true: readers of hardware, model files and their headers. Cheap, never torch."""
