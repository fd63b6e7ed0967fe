"""Who may ask which model, and how often."""
