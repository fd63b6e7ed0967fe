"""What a run's text log says: its lines by template. Pure: texts in, templates out."""
