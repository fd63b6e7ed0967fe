"""What the ledger says a fix saves, beside what it saves: trainings that always have a cause, and the same without it."""
