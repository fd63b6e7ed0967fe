"""What ran: command, commit, versions, variables and GPUs of each process of a run."""

RAN = "ran"  # the kind of event
DIFF = "<git diff>"  # under which name the difference from the commit is stored among a run's sources
