"""The Settings page: appearance, folders, hub token, this computer, keyboard, and what this program is made of."""
