"""The page “Export”: the result of a run as files that other programs take."""
