"""Services that report about themselves: endpoints in the format of Prometheus, read as runs of kind `service`."""
