"""What a line of a log says: its template, the fields it holds, and tracebacks over several lines. Any part may use it."""
