"""Which audio formats can be read, each shown by decoding a short tone."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from evalkit import audio
from evalkit.checks import Asked, Finding

SUBJECT = "audio"
ORDER = 40
RATE, TONE = 16_000, 440.0  # Hz
TONES = Path(__file__).parent / "tones"  # of half a second, in formats that soundfile does not write
# format and subtype of soundfile, by what people call them
WRITTEN = {
    "WAV": ("WAV", "PCM_16"),
    "FLAC": ("FLAC", "PCM_16"),
    "MP3": ("MP3", "MPEG_LAYER_III"),
    "Ogg": ("OGG", "VORBIS"),
}
FFMPEG = {"m4a, aac": "tone.m4a", "webm": "tone.webm"}


def check(asked: Asked) -> Iterator[Finding]:
    """Decode a tone in each format."""
    for name, (form, subtype) in WRITTEN.items():
        why = _lost_in(form, subtype)
        said = why or f"by libsndfile {soundfile.__libsndfile_version__}"
        yield Finding(name, "missing" if why else "ok", said, needed=True, facts={name: not why})
    for name, file in FFMPEG.items():
        why = refused(TONES / file)
        remedy = "install ffmpeg to read .m4a, .aac and .webm files, or convert them" if why else ""
        yield Finding(name, "absent" if why else "ok", why or "by ffmpeg", remedy=remedy, facts={name: not why})


def _lost_in(form: str, subtype: str) -> str:
    """Why a tone cannot be read that was written in a format; empty where it can."""
    tone = 0.5 * np.sin(2 * np.pi * TONE * np.arange(RATE // 2) / RATE)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "tone"
        try:
            with io.BytesIO() as buffer:
                soundfile.write(buffer, tone, RATE, format=form, subtype=subtype)
                place.write_bytes(buffer.getvalue())
        except (soundfile.LibsndfileError, ValueError, OSError) as error:
            return f"not known to libsndfile {soundfile.__libsndfile_version__} ({error})"
        return refused(place)


def refused(path: Path) -> str:
    """Why a file with the tone cannot be read as such; empty where it can."""
    try:
        heard = audio.read(path)
    except audio.AudioError as error:
        return str(error)
    wave = audio.downmix(heard).samples[0]
    loudest = int(np.abs(np.fft.rfft(wave)).argmax()) * heard.rate / max(1, len(wave))
    return (
        ""
        if abs(loudest - TONE) < 10
        else f"what is decoded is another sound, of {loudest:.0f} Hz in place of {TONE:g}"
    )
