"""One module for each verb: ``add_arguments`` declares its options, ``perform`` does it; loaded only when asked for."""
