"""Building blocks that know nothing of models or runs: cards, pills, bars, sliders, plots."""
