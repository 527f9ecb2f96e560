"""The page “Training”: the schedule before a run; curves, samples, log and outcome during and after it."""
