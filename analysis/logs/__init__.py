"""What a run's text log says: its lines by template, and judgements of them. Pure: texts, lines and columns in."""
