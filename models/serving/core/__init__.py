"""What all faces share: models, their queues, batches, deadlines, reload, statistics; no protocol."""
