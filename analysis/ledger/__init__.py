"""Where the device's time went: shares of a window that add up to 100, each with its line."""
