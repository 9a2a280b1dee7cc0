"""Captions to notes: what a caption asks for, and music that follows it.

Everything here is a function of the caption alone, and what is composed for a short clip is the
beginning of what is composed for a longer one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from evalkit.store.seeds import keyed

# In the order they are looked for: what matches is taken out of the text, so that a steel drum is
# not a drum, nor a synth bass a synth.
INSTRUMENTS = {
    "bells": r"steel ?drums?|steelpan|bells?|glockenspiel|vibraphone|marimba|xylophone|music box"
    r"|celesta|chimes?|kalimba",
    "drums": r"bass drums?|kick( drums?)?|snares?|hi-?hats?|cymbals?|drum\w*|beats?\b(?! per)",
    "percussion": r"percussi\w+|shakers?|maracas?|congas?|bongos?|tambourines?|hand ?claps?|tabla|djembe|cajon",
    "bass": r"(electric |synth(esi[sz]er)? |upright |double |acoustic )?bass( ?guitars?| ?lines?)?|contrabass|808s?",
    "electric piano": r"electric pianos?|rhodes|keyboards?|clavinet|wurlitzer",
    "piano": r"pianos?|harpsichord",
    "electric guitar": r"(electric|lead|distorted|overdriven) guitars?|guitar (riffs?|solo)|power chords?",
    "acoustic guitar": r"(acoustic |classical )?guitars?|ukuleles?|banjos?|mandolins?|harps?|lutes?|sitars?"
    r"|(plucked|steel|nylon)[ -]strings?",
    "organ": r"organs?|accordions?|harmonicas?",
    "pad": r"(synth(esi[sz]er)? )?pads?|drones?",
    "strings": r"strings?|violins?|violas?|cellos?|fiddles?|orchestra\w*",
    "flute": r"flutes?|recorders?|whistles?|clarinets?|oboes?|woodwinds?|panpipes?",
    "brass": r"brass|trumpets?|trombones?|tubas?|(french )?horns?|saxophones?|sax",
    "synth lead": r"synth\w*|arpeggiators?|chiptune",
    "voice": r"vocal\w*|voices?|sing(s|ers?|ing)?|sung|choirs?|chorus|chant\w*|humming",
}


SINGLE = ("flute", "brass", "synth lead", "bells", "voice", "electric guitar")  # these like to carry a melody


UNPITCHED = ("drums", "percussion")


DEFAULTS = (
    ("piano", "bass", "drums"),
    ("acoustic guitar", "flute"),
    ("pad", "synth lead", "drums"),
    ("piano", "strings"),
)


TEMPI = {  # bpm, the first that matches
    r"very slow\w*|extremely slow\w*|largo": 54,
    r"slow\w*|ballads?|lullab\w+|adagio": 68,
    r"drum (and|n|&) bass|very fast|extremely fast|presto": 170,
    r"fast\w*|up-?tempo|quick\w*|allegro|punk|metal": 144,
    r"techno|house|disco|edm|trance|upbeat|energetic|danc(e|ing|eable)": 126,
    r"medium|moderate\w*|mid-?tempo|andante": 98,
    r"calm\w*|relax\w*|ambient|meditat\w+|sad|peaceful": 74,
}


MINOR = (
    r"sad\w*|melanchol\w+|dark\w*|mourn\w*|eerie|haunting|ominous|tense|dramatic|lonely|suspense\w*|aggressive|angry"
)


MAJOR = r"happy|cheer\w+|joy\w*|uplifting|playful|bright\w*|fun|sunny|festive|hopeful|innocent|triumphant|romantic"


LOUD = r"loud\w*|powerful|aggressive|intense|energetic|heavy|epic|driving|angry|triumphant|distorted|punchy|anthemic"


SOFT = r"soft\w*|gentl\w+|quiet\w*|calm\w*|peaceful|delicate\w*|tender\w*|soothing|relax\w*|sleepy|mellow|intimate"


BUSY = r"busy|fast\w*|energetic|virtuos\w+|intricate|lively|arpeggi\w+|complex|groovy|frantic|quick\w*|rapid\w*"


SPARSE = r"spars\w+|simple|slow\w*|minimal\w*|ambient|long|sustained|spacious|meditat\w+|calm\w*"


BRIGHT = r"bright\w*|shimmer\w*|sparkl\w+|crisp|sharp|shrill|distorted|metallic|tinny|high[ -]pitched|buzzing|piercing"


DULL = r"dark\w*|warm\w*|mellow|muffled|deep|soft\w*|low[ -]pitched|round|dull|mournful"


LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


# "a minor key" and "A minor chord is played" name no key, so A needs a word before it
KEY = re.compile(
    r"(?:\b([B-G])|\b(?:in|of|is|key:?)\s+(A))[\s-]?(sharp\b|flat\b|[#♯♭b])?[\s-]+(major|minor|maj|min)\b(?! chord)"
)


SCALES = {False: (0, 2, 4, 5, 7, 9, 11), True: (0, 2, 3, 5, 7, 8, 10)}  # by whether minor


PROGRESSIONS = {  # roots as scale degrees
    False: ((0, 4, 5, 3), (0, 3, 0, 4), (0, 5, 3, 4), (0, 3, 4, 0)),
    True: ((0, 5, 2, 6), (0, 3, 0, 4), (0, 6, 5, 6), (0, 3, 6, 2)),
}


@dataclass(frozen=True)
class Piece:
    """What a caption asks for.

    Attributes:
        tempo: in beats per minute.
        beats: per bar.
        tonic: pitch class, 0 for C.
        instruments: keys of INSTRUMENTS in the order of their first mention.
        loudness, density, brightness: from 0 to 1, in the middle where the caption says nothing.
    """

    tempo: float
    beats: int
    tonic: int
    minor: bool
    instruments: tuple[str, ...]
    loudness: float
    density: float
    brightness: float


class Part(NamedTuple):
    """What one instrument plays in one role ("melody", "chords", "bass" or "drums").

    `notes` is (notes, 4), sorted by start: start and length in seconds, MIDI pitch, velocity from 0
    to 1. Drums use the pitches of General MIDI's percussion map.
    """

    instrument: str
    role: str
    notes: np.ndarray


def read_caption(text: str) -> Piece:
    """Find instruments, tempo, key and mood in a caption; a hash of it decides what it leaves open."""
    rng = keyed("piece", text)
    default = DEFAULTS[rng.integers(len(DEFAULTS))]
    tempo, sway = rng.uniform(80, 125), rng.uniform(0.95, 1.05)
    tonic, minor = int(rng.integers(12)), bool(rng.integers(2))
    # "no drums", "without any bass or drums"
    said = re.sub(r"\b(no|not|without|lacks)\b(\s+(?!but\b|with\b|the\b|a\b|is\b)[\w-]+){1,4}", " ", text.lower())

    tempo = next((bpm * sway for words, bpm in TEMPI.items() if _count(words, said)), tempo)
    if stated := re.search(r"(\d{2,3}(?:\.\d+)?)[\s-]*(?:bpm|beats per minute)\b", said):
        tempo = min(max(float(stated[1]), 40.0), 220.0)

    lean = _count(MINOR, said) - _count(MAJOR, said)
    minor = lean > 0 if lean else minor
    if mode := re.search(r"\b(major|minor)\b", said):
        minor = mode[1] == "minor"
    if key := KEY.search(text):
        accidental = {"sharp": 1, "#": 1, "♯": 1, "flat": -1, "b": -1, "♭": -1}.get(key[3], 0)
        tonic, minor = (LETTERS[key[1] or key[2]] + accidental) % 12, key[4].startswith("min")

    return Piece(
        tempo=tempo,
        beats=3 if _count(r"waltz\w*|3/4|three-four|triple met(er|re)", said) else 4,
        tonic=tonic,
        minor=minor,
        instruments=_instruments(said) or default,
        loudness=_amount(said, LOUD, SOFT),
        density=_amount(said, BUSY, SPARSE),
        brightness=_amount(said, BRIGHT, DULL),
    )


def _count(words: str, text: str) -> int:
    return len(re.findall(rf"\b(?:{words})\b", text))


def _amount(text: str, more: str, less: str) -> float:
    return float(np.clip(0.5 + 0.15 * (_count(more, text) - _count(less, text)), 0.05, 0.95))


def _instruments(text: str) -> tuple[str, ...]:
    first = {}
    for name, words in INSTRUMENTS.items():
        pattern = re.compile(rf"\b(?:{words})\b")
        if found := pattern.search(text):
            first[name] = found.start()
            text = pattern.sub(lambda match: "." * len(match[0]), text)  # positions stay
    return tuple(sorted(first, key=lambda name: first[name]))


def compose(piece: Piece, text: str, seconds: float) -> list[Part]:
    """Write the notes that start within the first seconds, one part per instrument and role."""
    slot = piece.beats if piece.tempo >= 90 else piece.beats / 2  # beats per chord
    slots = int(np.ceil(seconds * piece.tempo / 60 / slot))
    shape = keyed("harmony", text)
    roots = PROGRESSIONS[piece.minor][shape.integers(4)]
    harmony = [roots[i % 4] for i in range(slots)]

    def part(instrument: str, role: str) -> Part:
        rng = keyed("part", text, instrument, role)
        notes = np.array(_WRITERS[role](piece, harmony, slot, instrument, rng), dtype=np.float64).reshape(-1, 4)
        notes[:, :2] *= 60 / piece.tempo
        notes = notes[np.argsort(notes[:, 0], kind="stable")]
        return Part(instrument, role, notes[notes[:, 0] < seconds])

    pitched = [i for i in piece.instruments if i not in UNPITCHED and i != "bass"]
    lead = next((i for i in pitched if i in SINGLE), pitched[0] if pitched else None)
    parts = [part(i, "chords") for i in pitched if i != lead]
    if lead:
        parts.insert(0, part(lead, "melody"))
        if len(pitched) == 1 and lead not in SINGLE:
            parts.append(part(lead, "chords"))
    return parts + [part(i, i if i == "bass" else "drums") for i in piece.instruments if i not in pitched]


Notes = list[tuple[float, float, float, float]]  # start and length in beats, pitch, velocity


def _pitch(piece: Piece, degree: int, lowest: int) -> int:
    """The MIDI pitch of a scale degree, in the octave above the lowest tonic wanted."""
    tonic = lowest + (piece.tonic - lowest) % 12
    return tonic + SCALES[piece.minor][degree % 7] + 12 * (degree // 7)


def _melody(piece: Piece, harmony: list[int], slot: float, instrument: str, rng: np.random.Generator) -> Notes:
    """A motif of one chord's length and its answer, moved along with the harmony."""
    cells = ((2.0,), (1.0,), (0.5, 0.5), (0.5, 0.25, 0.25))
    weights = np.array([1 - piece.density, 1.0, 2 * piece.density, max(0.0, 2 * piece.density - 1)])
    motifs = []
    for _ in range(2):
        motif, beat, offset = [], 0.0, int(rng.choice((0, 2, 4)))
        while beat < slot:
            for length in cells[rng.choice(4, p=weights / weights.sum())]:
                motif.append((beat, min(length, slot - beat), offset))
                beat += length
                offset = int(np.clip(offset + rng.choice((-2, -1, 1, 2)), -1, 6))
                if beat >= slot:
                    break
        motifs.append(motif)
    lowest = {"bells": 72, "flute": 69, "brass": 58, "voice": 60, "electric guitar": 60}.get(instrument, 65)
    notes: Notes = []
    for i, root in enumerate(harmony):
        shift = int(rng.choice((0, 0, 0, 2)))  # now and then a third higher
        for beat, length, offset in motifs[i % 2]:
            accent = 0.9 if beat == int(beat) else 0.75
            notes.append((i * slot + beat, length * 0.95, _pitch(piece, root % 4 + offset + shift, lowest), accent))
    return notes


def _chords(piece: Piece, harmony: list[int], slot: float, instrument: str, rng: np.random.Generator) -> Notes:
    """Triads in close position: held, struck on each beat, or broken into single notes."""
    held = instrument in ("strings", "organ", "pad", "voice", "brass", "flute")
    broken = not held and rng.random() < 0.3 + 0.5 * piece.density
    step = 0.5 if piece.density > 0.4 else 1.0
    order = rng.permutation((0, 1, 2, 1))
    lowest = {"strings": 55, "pad": 55, "bells": 67, "flute": 64, "piano": 53}.get(instrument, 50)
    notes: Notes = []
    for i, root in enumerate(harmony):
        triad = sorted(lowest + (_pitch(piece, root + third, lowest) - lowest) % 12 for third in (0, 2, 4))
        if held:
            notes += [(i * slot, slot * 0.98, pitch, 0.7) for pitch in triad]
        elif broken:
            beats = np.arange(0, slot, step)
            notes += [(i * slot + b, step * 1.5, triad[order[k % 4]], 0.7) for k, b in enumerate(beats)]
        else:
            # a strum takes a moment
            notes += [
                (i * slot + b + 0.02 * k, min(1.0, slot - b), pitch, 0.75 if b == 0 else 0.6)
                for b in np.arange(0, slot, 1.0)
                for k, pitch in enumerate(triad)
            ]
    return notes


def _bass(piece: Piece, harmony: list[int], slot: float, instrument: str, rng: np.random.Generator) -> Notes:
    """The root, with its fifth or octave between, as often as the density asks for."""
    step = (2.0, 1.0, 0.5)[int(piece.density * 2.99)]
    between = int(rng.choice((0, 4, 7)))
    notes: Notes = []
    for i, root in enumerate(harmony):
        for k, beat in enumerate(np.arange(0, slot, step)):
            pitch = _pitch(piece, between if k % 4 == 3 else 0, 0) - piece.tonic + _pitch(piece, root, 31)
            notes.append((i * slot + beat, min(step, slot - beat) * 0.9, pitch, 0.9 if k == 0 else 0.75))
    return notes


KICK, SNARE, CLOSED_HAT, SHAKER, CONGA = 36, 38, 42, 70, 64


def _drums(piece: Piece, harmony: list[int], slot: float, instrument: str, rng: np.random.Generator) -> Notes:
    """One bar over and over: kick, snare and hi-hat, or shaker and conga."""
    eighths = np.arange(0, piece.beats, 0.5)
    bar: Notes = []
    if instrument == "percussion":
        bar += [(b, 0.5, SHAKER, 0.6 if b % 1 else 0.4) for b in eighths]
        bar += [(b, 0.5, CONGA, 0.8) for b in eighths if b == 0 or rng.random() < 0.2 + 0.4 * piece.density]
    else:
        floor = piece.loudness > 0.6 or 116 <= piece.tempo <= 135  # a kick on each beat
        for beat in range(piece.beats):
            if beat == 0 or floor or (beat == 2 and piece.beats == 4):
                bar.append((beat, 0.5, KICK, 0.95))
            if beat % 2 == 1 or (piece.beats == 3 and beat == 2):
                bar.append((beat, 0.5, SNARE, 0.8))
        bar += [(b, 0.5, KICK, 0.7) for b in eighths if b % 1 and rng.random() < 0.25 * piece.density]
        hats = eighths if piece.density >= 0.4 else eighths[::2]
        bar += [(b, 0.5, CLOSED_HAT, 0.45 if b % 1 else 0.6) for b in hats]
    bars = int(np.ceil(len(harmony) * slot / piece.beats))
    return [(i * piece.beats + beat, length, pitch, v) for i in range(bars) for beat, length, pitch, v in bar]


_WRITERS = {"melody": _melody, "chords": _chords, "bass": _bass, "drums": _drums}
