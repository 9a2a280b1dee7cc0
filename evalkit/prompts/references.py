"""Finding the recording that each caption describes, and saying which of them can be used, and why not.

References are given as a folder of clips, one for each prompt or for each recording that several prompts
share, as a pairing file (CSV, TSV or JSONL with columns `id` and `path`), by a table's `reference` column, or
as a reference pack. Only headers are read here: what decoding alone can show (truncated data, NaN, silence) is
found by the feature stage.

**Too long clips of MusicCaps.** A caption is about ten seconds of a video. `yt-dlp
--download-sections` without `--force-keyframes-at-cuts` does not cut at the wanted start but at the
keyframe before it, and does end at the wanted end (yt-dlp issues 4216 and 10970): clips come out at up
to 20 s (download-musiccaps-dataset issue 3), and the ten seconds meant are the last ten. So
`cut: end`, the default for MusicCaps, takes the end of a file that is longer than what its caption
is about; `cut: start` takes the beginning.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import NamedTuple

from evalkit.errors import EvalkitError, NothingThere, unknown
from evalkit.packs.files import SUFFIX as PACK
from evalkit.packs.pack import Pack
from evalkit.packs.packed import packed
from evalkit.progress import progress
from evalkit.prompts import Prompts
from evalkit.prompts.audio_files import by_id, by_stem, long_enough, mapped, normal, probed
from evalkit.prompts.user_files import SUFFIXES
from evalkit.settings import MIN_SECONDS
from evalkit.store.digests import digest, sha256_file
from evalkit.types import Clip, Prompt, PromptSet

TOLERANCE = 0.5  # seconds that a file may be longer than meant before it is cut, and times in a name may be off


def check_options(options: Prompts) -> None:
    """Check what all prompt sets say of references, and let `references` be a pack where it is the name of one.

    Raises EvalkitError for values of `cut` and `max_seconds` that mean nothing.
    """
    if options.cut not in ("start", "end"):
        raise unknown("prompts.cut", str(options.cut), ("start", "end"))
    limit = options.max_seconds
    if limit is not None and not limit >= MIN_SECONDS:
        raise EvalkitError(f"prompts.max_seconds={limit}: must be at least {MIN_SECONDS:g}, or null")
    if (found := packed(options.references)) is not options.references:
        object.__setattr__(options, "references", found)  # of a frozen dataclass that is being made


def find_references(prompts: PromptSet, options: Prompts, duration: float) -> list[Clip]:
    """Find one reference per prompt, in order, and classify it.

    `duration` is the length in seconds of generated clips; infinity leaves files whole that are not
    much longer than what the caption is about. A usable clip has the part of its file
    that counts in `start` and `seconds`: as much as the caption is about, and at most `duration`.
    Others are "missing", "unreadable", "too short" (under 1 s) or "too long", with a reason.
    Raises EvalkitError for a folder or pairing file that is absent, holds nothing or fits no prompt (NothingThere for
    a folder that is there), and for two files that could both be the reference of one prompt.
    """
    return _found(prompts, options, lambda p, f: _with_digest(_cut(p, _probed(p, f), options, duration)))


def probe_references(prompts: PromptSet, options: Prompts) -> list[Clip]:
    """Find one reference per prompt, in order, with its digest and what its header says, before any of it is cut.

    It is "ok", "missing" or "unreadable". Raises EvalkitError as `find_references` does.
    """
    return _found(prompts, options, lambda p, f: _with_digest(_probed(p, f)))


def survey_references(prompts: PromptSet, options: Prompts, duration: float) -> list[Clip]:
    """Find and classify references as `find_references` does, by their headers alone: they have no digests."""
    return _found(prompts, options, lambda p, f: _cut(p, _probed(p, f), options, duration))


def packed_references(prompts: PromptSet, options: Prompts, pack: Pack, duration: float) -> list[Clip]:
    """Find and classify references as `find_references` does, of a pack: those that are usable have no file.

    What a model has rendered is used as it is. Raises EvalkitError for a pack of none of the prompts, and for one in
    which a prompt has another caption.
    """
    known = {normal(one.id): one for one in pack.references}
    if not any(normal(prompt.id) in known for prompt in prompts.prompts):
        raise EvalkitError(
            f"the pack '{pack.name}' has none of the {len(prompts):,} prompts of {prompts.dataset}: it was made of "
            f"{pack.about.dataset}, whose first id is '{pack.references[0].id}'"
        )
    clips = []
    for prompt in prompts.prompts:
        one = known.get(normal(prompt.id))
        if one is None:
            clips.append(Clip(prompt.id, status="missing", reason=f"not in the pack '{pack.name}'"))
            continue
        if one.caption != digest(prompt.text):
            raise EvalkitError(
                f"the pack '{pack.name}' was made for another caption of '{prompt.id}' than '{prompt.text:.40}': "
                "get a pack of these prompts"
            )
        clip = dataclasses.replace(one.clip, id=prompt.id)
        if pack.about.rendered is None and not (clip := _cut(prompt, clip, options, duration)).ok:
            clip = dataclasses.replace(clip, sha256="")  # as of a file, which is not read then
        clips.append(clip)
    return clips


def _found(prompts: PromptSet, options: Prompts, classify: Callable[[Prompt, _Found], Clip]) -> list[Clip]:
    found = _locate(prompts, options)
    with progress("references", len(found), "files") as advance:
        clips = []
        for clip in mapped(classify, prompts.prompts, found):
            clips.append(clip)
            advance(1)
    return clips


def _with_digest(clip: Clip) -> Clip:
    return dataclasses.replace(clip, sha256=sha256_file(clip.path)) if clip.ok and clip.path is not None else clip


class _Found(NamedTuple):
    """Where a prompt's reference lies, or why it is missing."""

    path: Path | None
    reason: str = ""


def _locate(prompts: PromptSet, options: Prompts) -> list[_Found]:
    references = options.references
    if not references:
        return [
            _Found(p.reference) if p.reference else _Found(None, "no reference is given: set prompts.references")
            for p in prompts.prompts
        ]
    place = Path(str(references)).expanduser().absolute()
    if place.is_dir():
        return _in_folder(prompts, place, getattr(options, "ending", ""))
    if not place.exists():
        raise EvalkitError(
            f"prompts.references: '{place}' does not exist: give a folder, a file with columns id and path, or a "
            "reference pack: a .safetensors file, or OWNER/NAME@COMMIT of a hub"
        )
    if place.suffix.lower() in SUFFIXES:
        return _in_pairing(prompts, place)
    if place.suffix.lower() == PACK:
        raise EvalkitError(f"prompts.references: '{place}': these prompts take no reference pack: give audio")
    raise EvalkitError(f"prompts.references: '{place}' is neither a folder nor a {', '.join(SUFFIXES)} file")


def _in_pairing(prompts: PromptSet, place: Path) -> list[_Found]:
    paths = by_id(place, place.parent)
    names, proof = _names(prompts, paths, "")
    if not any(name in paths for name in names):
        raise EvalkitError(
            f"'{place}' has none of the {len(prompts):,} prompts: its first id is '{next(iter(paths))}', "
            f"the first prompt's is '{prompts.prompts[0].id}'"
        )
    return [
        _Found(paths.get(name), _absent(prompt, f"'{place.name}'", proof))
        for prompt, name in zip(prompts.prompts, names, strict=True)
    ]


_NUMBER = r"(\d+(?:\.\d+)?)"


# AudioSet's tools put a Y before an id; separators and ids share "-" and "_", but an id has 11 characters
_NAME = re.compile(
    rf"(?:Y?([\w-]{{11}})(?:[_-]{_NUMBER}(?:[_-]{_NUMBER})?)?|\[([\w-]{{11}})\](?:-\[{_NUMBER}-{_NUMBER}\])?)", re.ASCII
)


class _Named(NamedTuple):
    """A file, and the times in its name."""

    path: Path
    times: tuple[float, ...]

    def fit(self, prompt: Prompt) -> int:
        """1 where the times are the prompt's, in seconds or milliseconds; -1 where they are not; 0 where none are."""
        if not self.times or prompt.start is None:
            return 0
        meant = [prompt.start, prompt.start + (prompt.seconds or math.inf)][: len(self.times)]
        fits = any(
            all(abs(time / unit - m) < TOLERANCE for time, m in zip(self.times, meant, strict=True))
            for unit in (1, 1000)
        )
        return 1 if fits else -1


def _in_folder(prompts: PromptSet, folder: Path, ending: str) -> list[_Found]:
    """Match files below a folder by name.

    Args:
        ending: what names of recordings that several prompts share may end with.
    """
    stems = by_stem(folder)
    whole = {stem: [_Named(path, ()) for path in paths] for stem, paths in stems.items()}
    videos: dict[str, list[_Named]] = {}
    for stem, paths in stems.items():
        match = _NAME.fullmatch(stem)
        if match:
            video, times = match[1] or match[4], (match[2], match[3], match[5], match[6])
            named = tuple(float(t) for t in times if t)
            videos.setdefault(video, []).extend(_Named(path, named) for path in paths)
    # only a part of a video has other names than its id
    names, proof = _names(prompts, whole, ending)
    found = [
        _best(
            p,
            videos.get(normal(p.id), []) if p.start is not None else whole.get(name, []),
            _absent(p, f"'{folder}'", proof),
        )
        for p, name in zip(prompts.prompts, names, strict=True)
    ]
    if not any(f.path for f in found):
        reason = next((f": {f.reason}" for f in found if "names" in f.reason), "")
        first, *more = sorted(path for paths in stems.values() for path in paths)
        expected = _expected(prompts.prompts[0])
        raise NothingThere(
            f"'{folder}' has a reference for none of the {len(prompts):,} prompts: expected {expected}, "
            f"found '{first.name}'{f' and {len(more):,} more' if more else ''}{reason}"
        )
    return found


def _names(prompts: PromptSet, files: Container[str], ending: str) -> tuple[list[str], str]:
    """By which name each prompt's reference is looked for: its own id, or the recording's that it is a caption of.

    A recording is what a cluster is named for. Files are of recordings if one has a name that is nobody's
    id, since a recording and somebody else's caption may have the same number; then ids name none of them. Among
    other files, the reference of the prompt that a cluster is named for is that of the whole cluster.

    Returns also the first name of a file that is nobody's id; empty where files are not of recordings.
    """
    own = {normal(p.id): p.unit for p in prompts.prompts}
    ids = own.keys() | {normal(id) for id in prompts.taken}

    def recording(prompt: Prompt) -> str:
        name = normal(prompt.cluster)
        return f"{name}{ending}" if f"{name}{ending}" in files else name

    those = (recording(p) for p in prompts.prompts if p.cluster)
    of_recordings = next((one for one in those if one in files and one not in ids), "")

    def name(prompt: Prompt) -> str:
        if not prompt.cluster or (not of_recordings and normal(prompt.id) in files):
            return normal(prompt.id)
        its_own = own.get(normal(prompt.cluster)) == prompt.cluster
        return recording(prompt) if of_recordings or its_own else normal(prompt.id)

    return [name(prompt) for prompt in prompts.prompts], of_recordings


def _absent(prompt: Prompt, place: str, proof: str) -> str:
    """Why a prompt has no reference in a place.

    Args:
        proof: by which name its files are those of recordings; empty where they are not.
    """
    if not (prompt.cluster and proof):
        return f"not in {place}"
    return f"no recording '{prompt.cluster}' in {place}, which has recordings, as '{proof}' is no prompt's id"


def _best(prompt: Prompt, files: Sequence[_Named], absent: str) -> _Found:
    fitting = [file for file in files if file.fit(prompt) >= 0]
    if not fitting:
        if files:
            part = f"{prompt.start:g} to {(prompt.start or 0) + (prompt.seconds or math.inf):g} s"
            return _Found(None, f"'{files[0].path.name}' names another part of the video than {part}")
        return _Found(None, absent)
    best = max(file.fit(prompt) for file in fitting)
    first, *others = [file.path for file in fitting if file.fit(prompt) == best]
    if others:
        raise EvalkitError(f"two references for '{prompt.id}': '{first}' and '{others[0]}': remove one")
    return _Found(first)


def _expected(prompt: Prompt) -> str:
    if prompt.start is None or prompt.seconds is None:
        recording = f" or '{prompt.cluster}.wav'" if prompt.unit != prompt.id else ""
        return f"names such as '{prompt.id}.wav'{recording}"
    return f"names such as '{prompt.id}.wav' or '{prompt.id}_{prompt.start:g}_{prompt.start + prompt.seconds:g}.wav'"


def _probed(prompt: Prompt, found: _Found) -> Clip:
    """Read a file's header."""
    return (
        Clip(prompt.id, status="missing", reason=found.reason) if found.path is None else probed(prompt.id, found.path)
    )


def _cut(prompt: Prompt, clip: Clip, options: Prompts, duration: float) -> Clip:
    """Say whether a file whose header was read can be used, and which part of it."""
    if not clip.ok:
        return clip
    whole = clip.frames / clip.sample_rate
    clip = long_enough(clip, whole)
    if not clip.ok:
        return clip
    if options.max_seconds is not None and whole > options.max_seconds:
        reason = f"{whole:.1f} s: more than prompts.max_seconds={options.max_seconds:g}, so not the clip itself"
        return dataclasses.replace(clip, status="too long", reason=reason)
    meant = duration if prompt.seconds is None else prompt.seconds
    start, note = 0.0, ""
    if whole > meant + TOLERANCE:
        start = whole - meant if options.cut == "end" else 0.0
        note = f"cut from {whole:.1f} s to its {'last' if options.cut == 'end' else 'first'} {meant:g} s"
    seconds: float | None = min(meant, duration, whole - start)
    if math.isinf(duration) and not note:
        seconds = None
    return dataclasses.replace(clip, start=start, seconds=seconds, note=note)
