"""What a run's log says in a window, and why a run crashed: asked of the store, answered by `collectors/analysis/logs`."""
