"""What the window knows: the spec being edited, the facts, the plan, the runs and the user's preferences."""
