"""What the lines of a log say: pure, lines and columns in, judgements out."""
