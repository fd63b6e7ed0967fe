"""Learns byte pair merges from text, in plain Python. Starts over with another part of the text after a few hundred merges."""

import random
from collections import Counter

from pace import more, unit_done

SYLLABLES = ["ka", "to", "mi", "ren", "shu", "lo", "ber", "ti", "na", "gor", "el", "is", "un", "ver", "da"]
MERGES = 250


def read_words(rng, count):
    words = Counter()
    for _ in range(count):
        words["".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 6)))] += 1
    return words


class BpeTrainer:
    def __init__(self, words):
        self.words = {word: list(word) for word in words}
        self.counts = dict(words)
        self.merges = []

    def add_words(self, words):
        for word, count in words.items():
            self.words.setdefault(word, list(word))
            self.counts[word] = self.counts.get(word, 0) + count

    def forget_words(self, keep):
        for word in list(self.words)[keep:]:
            del self.words[word], self.counts[word]

    def count_pairs(self):
        pairs = Counter()
        for word, parts in self.words.items():
            count = self.counts[word]
            for left, right in zip(parts, parts[1:]):
                pairs[left, right] += count
        return pairs

    def apply_merge(self, pair):
        joined = pair[0] + pair[1]
        for word, parts in self.words.items():
            if pair[0] not in word:
                continue
            at = 0
            while at < len(parts) - 1:
                if parts[at] == pair[0] and parts[at + 1] == pair[1]:
                    parts[at : at + 2] = [joined]
                at += 1

    def is_useful(self, pair):
        """Whether the merge helps: simulated on part of the words before it is applied."""
        gained = 0
        for word, parts in list(self.words.items())[::4]:
            gained += sum(1 for left, right in zip(parts, parts[1:]) if (left, right) == pair)
        return gained > 0

    def best_merge(self):
        """The most frequent pair; where many are equally frequent, they are counted again after each is ruled out."""
        pairs = self.count_pairs()
        for _ in range(round(3 * more())):
            pairs = self.count_pairs()
        return max(pairs, key=lambda pair: (pairs[pair], pair)) if pairs else None


def main():
    rng = random.Random(6)
    while True:
        trainer = BpeTrainer(read_words(rng, 2500))
        for turn in range(MERGES):
            pair = trainer.best_merge()
            if pair is None or not trainer.is_useful(pair):
                break
            trainer.apply_merge(pair)
            trainer.merges.append(pair)
            unit_done()
            if turn % 20 == 0:
                print(f"merged {pair[0]!r} and {pair[1]!r}", flush=True)


if __name__ == "__main__":
    main()
