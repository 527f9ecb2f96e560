"""The Model page: what lies on this computer, the hub, and the chosen model with its facts."""
