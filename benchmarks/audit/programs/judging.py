"""Judges an answer by what it has in common with the reference."""


def common_runs(answer, reference, longest):
    """How many stretches of up to `longest` words stand in both."""
    found = 0
    for length in range(1, longest + 1):
        known = [reference[at : at + length] for at in range(len(reference) - length + 1)]
        for at in range(len(answer) - length + 1):
            found += answer[at : at + length] in known
    return found


def judge(answer, reference, longest):
    runs = common_runs(answer, reference, longest)
    short = abs(len(answer) - len(reference)) / len(reference)
    return runs / (len(answer) * longest) - 0.1 * short
