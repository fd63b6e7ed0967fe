"""Several series of several runs on one axis: which they are, where their points stand, and what is drawn of them."""
