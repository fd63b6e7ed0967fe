"""The zoo: a table of models, what is fetched of them, and what opens them."""
