"""A file a library that makes models: `on_meta` makes the empty one, `opened` the one with its weights."""
