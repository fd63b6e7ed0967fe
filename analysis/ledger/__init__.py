"""Where the time of a window, or of a whole run, went: shares that add up to 100."""
