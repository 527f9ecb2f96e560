"""What will happen: `plan(spec, facts)`, pure arithmetic. No I/O, no torch, no numpy."""
