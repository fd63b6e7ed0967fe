"""Whose files and processes a dashboard of root looks at, and with whose rights. For any other user all of it costs one comparison."""
