"""What the analysis says of a window of a run: the line it was lost to, and where its time went."""
