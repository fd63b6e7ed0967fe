"""Steps that are traced on demand: the folder of a run's requests and answers, what is asked, what is answered."""
