"""The page “Try”: talk to a run's result, to the model it came from, or to both side by side."""
