"""Small replicas of corpora: names and tables in the layouts that their documentation gives, typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import soundfile

from ser_toolkit.corpora.base import Corpus


def notes_of(corpus: Corpus, root: Path) -> list[str]:
    """Sentences on all rows of a copy."""
    listing = corpus.read(root)
    return listing.notes(listing.rows)


@dataclass(frozen=True)
class Replica:
    """What a folder holds: names of recordings, and text files by name."""

    audio: list[str]
    texts: dict[str, str] = field(default_factory=dict)

    def write(self, root: Path, sound: bool = False) -> Path:
        """Write it; without ``sound`` the recordings are empty files, with it short tones, each another one.

        The first four are odd, as single files of these corpora are: AIFF in a file named .wav, stereo, 96 kHz, and
        almost silent.
        """
        for name in [*self.audio, *self.texts]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
        for name, text in self.texts.items():
            (root / name).write_text(text, encoding="utf-8")
        rng = np.random.default_rng(0)
        for number, name in enumerate(self.audio):
            if not sound:
                (root / name).touch()
                continue
            rate = 96000 if number == 2 else 16000
            time = np.arange(rate // 10) / rate
            wave = 0.3 * np.sin(2 * np.pi * (100 + 10 * number) * time) + 0.01 * rng.standard_normal(len(time))
            wave = np.stack([wave, 0.5 * wave], axis=1) if number == 1 else wave
            wave = 1e-3 * wave if number == 3 else wave
            container = "AIFF" if number == 0 else "WAV"
            soundfile.write(root / name, wave, rate, subtype="PCM_16", format=container)
        return root


def savee() -> Replica:
    codes = ("a01", "d01", "f01", "h01", "n01", "sa01", "su01")
    return Replica([f"AudioData/{s}/{code}.wav" for s, code in product(("DC", "JE", "JK", "KL"), codes)])


def tess() -> Replica:
    folders = (
        "OAF_angry/OAF_back_angry OAF_disgust/OAF_back_disgust OAF_Fear/OAF_food_fear OAF_happy/OAF_back_happy "
        "OAF_neutral/OA_bite_neutral OAF_Pleasant_surprise/OAF_back_ps OAF_Sad/OAF_back_sad YAF_angry/YAF_back_angry "
        "YAF_disgust/YAF_back_disgust YAF_fear/YAF_back_fear YAF_happy/YAF_back_happy YAF_neutral/YAF_back_neutral "
        "YAF_pleasant_surprised/YAF_back_ps YAF_sad/YAF_back_sad"
    )
    return Replica([f"{name}.wav" for name in folders.split()])


def emovo() -> Replica:
    emotions = ["dis", "gio", "neu", "pau", "rab", "sor", "tri"]
    return Replica([f"EMOVO/{s}/{e}-{s}-b1.wav" for s, e in product(("f1", "f2", "m1", "m2"), emotions)])


def shemo() -> Replica:
    names = [f"{s}{e}01.wav" for s, e in product(("F01", "F02", "F03", "M01", "M02", "M03"), "AFHNSW")]
    return Replica([f"{'female' if name[0] == 'F' else 'male'}/{name}" for name in names])


def jl_corpus() -> Replica:
    primary = ("angry", "excited", "happy", "neutral", "sad")
    secondary = ("anxious", "apologetic", "assertive", "concerned", "encouraging")
    speakers = ("female1", "female2", "male1", "male2")
    folder = "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)"
    return Replica([f"{folder}/{s}_{e}_10a_1.wav" for s, e in product(speakers, primary + secondary)])


def esd() -> Replica:
    first = {"Neutral": 1, "Angry": 351, "Happy": 701, "Sad": 1051, "Surprise": 1401}
    speakers = ("0001", "0003", "0005", "0007", "0011", "0012")  # every published fold has one of them
    return Replica([f"{s}/{folder}/{s}_{number:06d}.wav" for s in speakers for folder, number in first.items()])


def urdu() -> Replica:
    letters = {"Angry": "A", "Happy": "H", "Neutral": "N", "Sad": "S"}
    speakers = ("SF1", "SF2", "SF3", "SM1", "SM2", "SM5")
    return Replica([f"{folder}/{s}_F1_{letter}01.wav" for s in speakers for folder, letter in letters.items()])


def subesco() -> Replica:
    emotions = ["ANGRY", "DISGUST", "FEAR", "HAPPY", "NEUTRAL", "SAD", "SURPRISE"]
    speakers = ("F_01_OISHI", "F_02_MONIKA", "F_03_SMITA", "F_05_MOUNI", "M_05_DURANTO")
    return Replica([f"SUBESCO/{s}_S_1_{e}_5.wav" for s, e in product(speakers, emotions)])


def cafe() -> Replica:
    folders = {
        "Colère/Faible": "C-1",
        "Dégoût/Fort": "D-2",
        "Joie/Fort": "J-2",
        "Neutre": "N-1",
        "Peur/Fort": "P-2",
        "Surprise/Faible": "S-1",
        "Tristesse/Fort": "T-2",
    }
    actors = ("01", "02", "03", "04", "05", "08")
    return Replica([f"CaFE_48k/{place}/{a}-{code}-1.wav" for a in actors for place, code in folders.items()])


def emov_db() -> Replica:
    files = {
        "Amused": "amused_1-15_0001",
        "Angry": "anger_1-28_0011",
        "Disgusted": "Disgust_169_196_0183",
        "Neutral": "neutral_57-84_0067",
        "Sleepy": "sleepiness_113_140_0113",
    }
    names = [f"{s}_{style}/{file}.wav" for s in ("bea", "jenie", "josh", "sam") for style, file in files.items()]
    return Replica([name for name in names if name.split("/")[0] not in ("josh_Angry", "josh_Disgusted")])


def baved() -> Replica:
    people = ("46-m-20", "53-m-20", "0-m-21", "54-f-19", "55-f-22", "56-f-21", "50-m-23")
    return Replica([f"0/{p}-0-{level}-{100 + 3 * k + level}.wav" for k, p in enumerate(people) for level in range(3)])


def turev_db() -> Replica:
    codes = {"Angry": "kz", "Calm": "sk", "Happy": "mt", "Sad": "hl"}
    speakers = ("1157", "1234", "1358", "1984")
    return Replica([f"Sound Source/{folder}/{s}_{code}_eger.wav" for s in speakers for folder, code in codes.items()])


def ased() -> Replica:
    folders = {"01Neutral": "n1", "02Fearful": "f2", "03Happy": "h3", "04Sad": "s4", "05Angry": "a5"}
    people = ("01-01", "02-04", "02-06", "01-13", "02-39", "01-05")
    return Replica([f"{folder}/{code}-04-01-{who}.wav" for who in people for folder, code in folders.items()])


def nemo() -> Replica:
    emotions = ["anger", "fear", "happiness", "neutral", "sadness", "surprised"]
    names = [f"{s}_{e}_1.wav" for s, e in product(("EB0", "IC0", "WR0"), emotions)]
    lines = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for name in names:
        speaker, emotion, _ = name.split("_")
        sex = "male" if speaker == "WR0" else "female"
        lines.append(f'{name}\t{emotion}\t"Historia" mnie interesuje.\tinteresuje mnie\t        {speaker}\t{sex}\t27')
    return Replica([f"samples/{name}" for name in names], {"data.tsv": "\n".join(lines) + "\n"})


MELD_HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
MELD_FOLDERS = {"train": "train/train_splits", "dev": "dev_splits_complete", "test": "output_repeated_splits_test"}
MELD_TABLES = {"train": "train/train_sent_emo.csv", "dev": "dev_sent_emo.csv", "test": "test_sent_emo.csv"}


def meld() -> Replica:
    emotions = ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]
    audio, texts = [], {}
    for part, folder in MELD_FOLDERS.items():
        lines = [
            f'{k + 1},"Oh. That’s so, well, Monica {k}",{("Monica", "Mark")[k % 2]},{emotion},positive,0,{k},3,19,'
            '"00:14:38,127","00:14:40,378"'
            for k, emotion in enumerate(emotions)
        ]
        audio += [f"{folder}/dia0_utt{k}.wav" for k in range(len(emotions))]
        texts[MELD_TABLES[part]] = MELD_HEADER + "\n".join(lines) + "\n"
    return Replica(audio, texts)


def msp_improv() -> Replica:
    audio, blocks = [], []
    for session, (code, word) in product(range(1, 4), (("A", "Angry"), ("H", "Happy"), ("N", "Neutral"), ("S", "Sad"))):
        for sex, pair in (("F", "FM"), ("M", "MF")):
            name = f"S01{code}-{sex}0{session}-T-{pair}01"
            audio.append(f"Audio/session{session}/S01{code}/T/MSP-IMPROV-{name}.wav")
            blocks.append(
                f"UTD-IMPROV-{name}.avi; {code}; A:2.333333; V:3.000000; D:NaN ; N:3.600000;\n"
                f"AB12-p01; {word}; {word},Excited; A:2.000000; V:3.000000; D:NaN; N:4.000000;\n"
                f"CD34-p07; Other; ; A:3.000000; V:3.000000; D:NaN; N:3.000000;\n"
            )
    return Replica(audio, {"Evalution.txt": "\n".join(blocks)})


PODCAST_HEADER = "FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"


def msp_podcast() -> Replica:
    words = {"A": "Angry", "C": "Contempt", "D": "Disgust", "F": "Fear", "H": "Happy", "N": "Neutral"}
    words |= {"S": "Sad", "U": "Surprise"}
    consensus, detailed, audio = [], [], []
    for podcast, part in (("0001", "Train"), ("0002", "Development"), ("0003", "Test1"), ("0004", "Test2")):
        for number, (code, word) in enumerate(words.items()):
            name = f"MSP-PODCAST_{podcast}_{number:04d}.wav"
            speaker = ("30", "Male") if number else ("Unknown", "Unknown")
            consensus.append(f"{name},{code},2.2,4.0,2.6,{speaker[0]}{podcast if number else ''},{speaker[1]},{part}")
            detailed.append(f'{name},"WORKER00000001; {word}; {word},Concerned; A:2.0; V:4.0; D:3.0;"')
            audio.append(f"Audios/{name}")
    tables = {
        "Labels/labels_consensus.csv": PODCAST_HEADER + "\n".join(consensus) + "\n",
        "Labels/labels_detailed.csv": "FileName,EmoDetail\n" + "\n".join(detailed) + "\n",
    }
    return Replica(audio, tables)


def koemotts() -> Replica:
    parts = {"ema": "plain", "emf": "plain", "nea": "emotional", "nek": "emotional"}
    names = [(f"{part}-to-emotional/{s}", f"{s}00{hundred}05") for s, part in parts.items() for hundred in range(4)]
    words = {f"{folder}/transcript/{name}.txt": f"\ufeff말 {name}" for folder, name in names}
    return Replica([f"{folder}/wav/{name}.wav" for folder, name in names], words)


THAI_WORDS = ("Neutral", "Angry", "Happy", "Sad", "Frustrated")


def thai_ser() -> Replica:
    """Three sessions of a fold each and one of Zoom; every actor reads a sentence and plays a scene in each emotion."""
    sessions = {"s001": ("001", "002"), "s011": ("021", "022"), "s021": ("041", "042"), "z001": ("161", "162")}
    labels, audio = {}, []
    for session, actors in sessions.items():
        folder, microphone = ("studio", "con") if session[0] == "s" else ("zoom", "mic")
        for actor, (number, word) in product(actors, enumerate(THAI_WORDS, start=1)):
            for what in (f"script1_1_{number}a", f"impro{number}_1"):
                name = f"{session}_{microphone}_actor{actor}_{what}.flac"
                audio.append(f"{folder}1-10/{folder}{session[1:]}/{microphone}/{name}")
                entry = {"assigned_emo": word, "majority_emo": word, "annotated": [[word]] * 3, "agreement": 1.0}
                labels[name] = [entry]
    people = [
        {"Actor's ID": one, "Sex": "Female" if int(one) % 2 else "Male"} for two in sessions.values() for one in two
    ]
    texts = {"emotion_label.json": json.dumps(labels), "actor_demography.json": json.dumps({"data": people})}
    return Replica(audio, texts)


MOSEI_HEADER = "file,index,start,end,sentiment,happy,sad,anger,surprise,disgust,fear\n"


def cmu_mosei() -> Replica:
    """A video with one segment for each part and emotion, in the raw data's layout, with the SDK's lists."""
    parts = {"train": "standard_train_fold", "valid": "standard_valid_fold", "test": "standard_test_fold"}
    videos = {part: [f"{part}_{number}-Vid" for number in range(6)] for part in parts}
    lines = []
    for part, (number, video) in product(parts, enumerate(videos["train"])):
        means = ["2.0" if place == number else "0.333333" if place == 5 - number else "0.0" for place in range(6)]
        lines.append(f"{video.replace('train', part)},0,-0.02,0.1,{number - 3},{','.join(means)}")
    texts = {
        "CMU_MOSEI_Labels.csv": MOSEI_HEADER + "\n".join(lines) + "\n",
        "cmu_mosei_std_folds.py": "\n\n".join(f"{name}={videos[part]}" for part, name in parts.items()) + "\n",
    }
    return Replica([f"Raw/Audio/Full/WAV_16000/{video}.wav" for one in videos.values() for video in one], texts)


#: Replicas by the folder of the corpus's recipes.
REPLICAS: dict[str, Callable[[], Replica]] = {
    make.__name__: make
    for make in (
        ased, baved, cafe, cmu_mosei, emov_db, emovo, esd, jl_corpus, koemotts, meld, msp_improv, msp_podcast, nemo,
        savee, shemo, subesco, tess, thai_ser, turev_db, urdu,
    )
}  # fmt: skip


def touch(root: Path, names: Iterable[str]) -> Path:
    """Empty files of these names."""
    return Replica(list(names)).write(root)
