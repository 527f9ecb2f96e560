"""What fits: ways to make a run fit, the largest values that do, and what other GPUs would make of it."""
