"""An audit of verdicts by programs that whoever writes the rules has not seen: how often the line is right, and what confidence is worth."""
