"""The frame around the pages: rail, plan panel, status bar, notices and the window itself."""
