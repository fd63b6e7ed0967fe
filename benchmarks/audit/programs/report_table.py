"""A table of a model's parameters for the terminal, in colours."""

BARS = " .:-=+*#%@"
BOLD, DIM, END = "\033[1m", "\033[2m", "\033[0m"


def histogram(values, bins=16):
    low, high = min(values), max(values)
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / (high - low + 1e-12) * bins))] += 1
    most = max(counts)
    return "".join(BARS[count * (len(BARS) - 1) // most] for count in counts)


def format_table(model, width=120):
    """A row for the first `width` rows of each matrix."""
    lines = [f"{BOLD}{'parameter':<28}{'shape':>14}  values{END}"]
    for name, parameter in model.named_parameters():
        rows = parameter.detach().reshape(len(parameter), -1)[:width]
        for index, row in enumerate(rows.tolist()):
            lines.append(f"{name + f'[{index}]':<28}{str(tuple(parameter.shape)):>14}  {DIM}{histogram(row)}{END}")
    return lines
