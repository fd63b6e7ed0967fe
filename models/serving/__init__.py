"""Serve artifacts over REST and gRPC: batching without a timer, refusal by predicted wait, reload without a failed request."""
