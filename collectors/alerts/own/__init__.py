"""Rules of alerts.yaml over series, and what they find."""
