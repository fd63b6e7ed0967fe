"""Where the device time of a run went: accounts of minutes, remembered and added up."""
