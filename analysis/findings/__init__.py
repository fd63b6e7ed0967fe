"""What is wrong with a run, or with the machine, said without being asked: a rule a row, records in, findings out."""
