"""Where attempts of jobs run."""
