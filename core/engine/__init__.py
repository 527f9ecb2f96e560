"""The process that trains, samples, merges and imports: the only code that imports torch. Nobody imports it."""
