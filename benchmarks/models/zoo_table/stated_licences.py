"""Licences of hub repositories that no installed library states, and where each was read on 27 November 2026.

What is not in here stays unstated in the table: the first fetch reads it at the hub.
"""

from __future__ import annotations

from typing import NamedTuple


class StatedLicence(NamedTuple):
    licence: str
    read_in: str


BY_PREFIX = {  # of the hub's ids
    "openai-community/gpt2": StatedLicence(
        "mit", "model card at the hub; LICENSE of github.com/openai/gpt-2 is a modified MIT"
    ),
    "openai/whisper": StatedLicence("mit", "LICENSE of github.com/openai/whisper"),
    "google-bert/bert": StatedLicence("apache-2.0", "LICENSE of github.com/google-research/bert"),
    "google/bert_uncased": StatedLicence("apache-2.0", "LICENSE of github.com/google-research/bert"),
    "FacebookAI/": StatedLicence("mit", "LICENSE of github.com/facebookresearch/fairseq"),
    "facebook/bart": StatedLicence("mit", "LICENSE of github.com/facebookresearch/fairseq"),
    "EleutherAI/pythia": StatedLicence("apache-2.0", "LICENSE of github.com/EleutherAI/pythia"),
}
UNREAD = StatedLicence("", "the hub's model card, which the first fetch reads")


def licence_of(repository: str) -> StatedLicence:
    return next((stated for prefix, stated in BY_PREFIX.items() if repository.startswith(prefix)), UNREAD)
