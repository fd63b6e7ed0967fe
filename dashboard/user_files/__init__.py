"""What users say in files of the data folder: about runs, and as settings. Nothing here knows Dash, the store or HTTP."""
