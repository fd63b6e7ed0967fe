"""The lines of text logs as the Logs page asks for them: filtered, counted, searched, one screen at a time."""
