"""The Adapter page: what is trained, how strongly and where, and what each change costs."""
