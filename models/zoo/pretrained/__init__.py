"""A class a task: `from_pretrained` opens what is on this host, and says what to fetch where it is not."""
