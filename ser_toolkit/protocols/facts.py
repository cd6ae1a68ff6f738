"""Facts of published protocols: the speakers of their parts, and utterances per class of complete copies."""

from __future__ import annotations

CREMAD, EMODB, RAVDESS, SHEMO = "CREMA-D", "EmoDB", "RAVDESS", "ShEMO"
CAFE, ESD, SUBESCO = "CaFE", "ESD", "SUBESCO"
CREMAD_CLASSES = {"angry": 1271, "disgusted": 1271, "fearful": 1271, "happy": 1271, "neutral": 1087, "sad": 1271}
EMODB_CLASSES = {"angry": 127, "bored": 81, "disgusted": 46, "fearful": 69, "happy": 71, "neutral": 79, "sad": 62}
_SEVEN = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")
RAVDESS_CLASSES = {name: 96 if name == "neutral" else 192 for name in (*_SEVEN, "calm")}
CAFE_CLASSES = {name: 72 if name == "neutral" else 144 for name in _SEVEN}
SUBESCO_CLASSES = dict.fromkeys(_SEVEN, 1000)
ESD_CLASSES = dict.fromkeys(("angry", "happy", "neutral", "sad", "surprised"), 7000)
RAVDESS_ACTORS = tuple(f"{number:02d}" for number in range(1, 25))
CREMAD_ACTORS = tuple(str(number) for number in range(1001, 1092))


def _parts(*lines: str) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(line.split()) for line in lines)


#: EmoBox's test parts of RAVDESS: drawn once without a seed, so that only the lists define them; as are the others.
EMOBOX_RAVDESS = _parts("01 11 20 21", "04 10 12 14", "08 09 19 23", "03 05 07 24", "02 15 16 18", "06 13 17 22")
_EMOBOX_CAFE = _parts("01 07 08 10", "02 04 09 12", "03 05 06 11")
_EMOBOX_SUBESCO = _parts(
    "F_03 M_03 M_08 M_09", "F_01 F_04 F_10 M_07", "F_06 F_08 M_05 M_06", "F_05 F_07 F_09 M_04", "F_02 M_01 M_02 M_10"
)
_EMOBOX_ESD = _parts(
    "0005 0011 0016 0018", "0012 0014 0015 0019", "0003 0004 0006 0009", "0007 0008 0013 0020", "0001 0002 0010 0017"
)
#: Languages of a corpus and its test parts: a dozen numbers alone do not identify the corpus.
EMOBOX_SPEAKERS = (
    ({"en"}, EMOBOX_RAVDESS),
    ({"fr"}, _EMOBOX_CAFE),
    ({"bn"}, _EMOBOX_SUBESCO),
    ({"en", "zh"}, _EMOBOX_ESD),
)
#: EmoBox's quarters: sizes and classes of its lists, in this toolkit's words (ShEMO in its edition of 2838 utterances).
QUARTERS = {
    "TESS": ((2100, 0, 700), dict.fromkeys(_SEVEN, 400)),
    SHEMO: (
        (2131, 0, 707),
        {"angry": 1034, "fearful": 29, "happy": 198, "neutral": 1018, "sad": 360, "surprised": 199},
    ),
    "URDU": ((300, 0, 100), dict.fromkeys(("angry", "happy", "neutral", "sad"), 100)),
    "TurEV-DB": ((1303, 0, 432), {"angry": 487, "calm": 408, "happy": 357, "sad": 483}),
    "ASED": ((1858, 0, 616), {"angry": 486, "fearful": 510, "happy": 486, "neutral": 522, "sad": 470}),
    "EmoV-DB": (
        (5168, 0, 1719),
        {"amused": 1315, "angry": 1267, "disgusted": 1019, "neutral": 1566, "sleepy": 1720},
    ),
}
#: First names of SUBESCO's speakers, which its file names give behind their numbers.
SUBESCO_NAMES = {
    f"{sex}_{number:02d}": name
    for sex, names in (
        ("F", "OISHI MONIKA SMITA SWARNALI MOUNI SIMI TITHI JOYEETA CHAITY FAHMEE"),
        ("M", "BASHIR NIPUN ILIAS BIBHAS DURANTO SHUKANTO SIBLY PRASUN SHUMANTA EVAN"),
    )
    for number, name in enumerate(names.split(), start=1)
}
