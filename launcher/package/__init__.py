"""``launch.py package``: the program with everything it needs in one folder, and the installers made from that."""
