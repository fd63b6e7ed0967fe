"""What leaves the machine: from findings and own rules to messages, and their delivery."""
