"""Sifts blobs as a crawler does: unpack, parse, mask, fingerprint, pack. All of it in C extensions, without torch."""

import hashlib
import json
import lzma
import random
import re
import zlib

from pace import more, unit_done

MAIL = re.compile(r"[a-z]+@[a-z]+\.[a-z]{2,3}")
WORDS = "alpha beta gamma delta epsilon mail@example.org zeta eta theta iota kappa lambda".split()


def crawl(rng, repeat):
    """A packed page; some sites have pages that are mostly one long attachment."""
    page = {
        "url": f"http://site/{rng.randrange(10**6)}",
        "text": " ".join(rng.choices(WORDS, k=900)),
        "attachment": "x" * (3000 * repeat),
    }
    return zlib.compress(json.dumps(page).encode())


def fingerprint(data):
    """Slow on purpose, as for passwords: nobody is to guess pages by their fingerprints."""
    digest = hashlib.pbkdf2_hmac("sha256", data[:64], b"salt", 1500 + len(data) // 3)
    return digest.hex()


class Pipeline:
    def __init__(self):
        self.known = set()
        self.kept = 0

    def unpack(self, blob):
        return json.loads(zlib.decompress(blob))

    def mask(self, text):
        return MAIL.sub("<mail>", text)

    def pack(self, page):
        return lzma.compress(json.dumps(page["text"]).encode(), preset=1)

    def handle(self, blob):
        page = self.unpack(blob)
        page["text"] = self.mask(page["text"])
        mark = fingerprint((page["url"] + page["text"] + page["attachment"]).encode())
        if mark not in self.known:
            self.known.add(mark)
            self.kept += len(self.pack(page)) > 100
        return mark


def run():
    rng = random.Random(27)
    pipeline = Pipeline()
    handled = 0
    while True:
        for _ in range(3):
            pipeline.handle(crawl(rng, 1 + int(11 * more())))
        handled += 1
        unit_done()
        if handled % 10 == 0:
            print(f"{pipeline.kept} kept", flush=True)


if __name__ == "__main__":
    run()
