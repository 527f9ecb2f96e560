"""How everything looks: tokens, theme and icons. Nothing else in the project names a colour or a size."""
