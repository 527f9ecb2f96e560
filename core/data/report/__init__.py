"""The report about a whole data set: what its rows are, and what is wrong with them, before anything is trained."""
