"""A run, or a window of it, as one HTML file that needs neither a network nor scripts: what was found, in how much detail, and its drawing."""
