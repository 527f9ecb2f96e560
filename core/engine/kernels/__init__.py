"""Forward and backward passes written by hand where PyTorch's own are slow; each is checked against the definition."""
