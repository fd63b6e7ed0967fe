"""Steps that were traced on demand, as pages ask for them."""
