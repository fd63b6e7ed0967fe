"""Protocols over the core: each reads a request, asks a model and writes its answer."""
