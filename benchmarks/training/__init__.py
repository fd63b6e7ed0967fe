"""What RunLog, adapters, instruments and precisions cost or gain a training."""
