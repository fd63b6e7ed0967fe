"""Lines of text logs beside their blocks: their templates, and the columns and texts of many at once."""
