"""A mistake of the user's, or a state of the host that the user can change."""


class QueueError(Exception):
    """One sentence with the error and the remedy."""


class NoDaemon(QueueError):
    """No daemon answers for this queue."""


class NoAnswer(QueueError):
    """A daemon is there and has not answered: what was asked may have been done, or may be done yet."""


class NoSuchJob(QueueError):
    """No job of that number is in the queue."""
