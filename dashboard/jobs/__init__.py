"""The queue of jobs, for pages and routes: read from its file; what is changed, the queue's daemon changes."""
