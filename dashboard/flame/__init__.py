"""Stack samples as flame graphs: folded, joined at waits, drawn in time order, exported. Knows nothing of runs, steps or blame."""
