"""Vowels and consonants of the ``Synthetic`` corpus, for a vocal tract of 17.5 cm.

Source: Peterson and Barney (1952), JASA 24(2), Table II (vowels of men); Klatt (1980), JASA 67(3) (loci and noise of
consonants, simplified).
"""

from __future__ import annotations

from dataclasses import dataclass

#: F4-F7 in Hz, the same for every phone.
UPPER_FORMANTS = (3500.0, 4500.0, 5500.0, 6500.0)

#: F1-F3 in Hz of an average man.
VOWELS: dict[str, tuple[float, float, float]] = {
    "a": (730.0, 1090.0, 2440.0),
    "e": (530.0, 1840.0, 2480.0),
    "i": (270.0, 2290.0, 3010.0),
    "o": (570.0, 840.0, 2410.0),
    "u": (300.0, 870.0, 2240.0),
}


@dataclass(frozen=True)
class Consonant:
    """How one consonant sounds.

    Args:
        locus: second formant that the transitions point to, in Hz.
        voicing: amplitude of the voice source, relative to a vowel.
        closure: part of the consonant without noise (1 for a sonorant, 0 for a fricative, between for a stop).
        noise: root mean square of the noise part, relative to a vowel.
        centre: resonance of that noise, in Hz.
        bandwidth: of that resonance, in Hz.
    """

    locus: float
    voicing: float = 0.0
    closure: float = 0.0
    noise: float = 0.0
    centre: float = 1000.0
    bandwidth: float = 1000.0


CONSONANTS: dict[str, Consonant] = {
    "p": Consonant(800.0, closure=0.75, noise=0.25, centre=900.0, bandwidth=1200.0),
    "t": Consonant(1800.0, closure=0.7, noise=0.4, centre=4200.0, bandwidth=2000.0),
    "k": Consonant(2100.0, closure=0.65, noise=0.4, centre=1900.0, bandwidth=700.0),
    "b": Consonant(800.0, voicing=0.12, closure=0.9, noise=0.15, centre=900.0, bandwidth=1200.0),
    "d": Consonant(1800.0, voicing=0.12, closure=0.9, noise=0.2, centre=4000.0, bandwidth=2000.0),
    "s": Consonant(1700.0, noise=0.3, centre=6000.0, bandwidth=1800.0),
    "f": Consonant(1000.0, noise=0.12, centre=4500.0, bandwidth=5000.0),
    "m": Consonant(900.0, voicing=0.4, closure=1.0),
    "n": Consonant(1700.0, voicing=0.4, closure=1.0),
    "l": Consonant(1300.0, voicing=0.55, closure=1.0),
}
