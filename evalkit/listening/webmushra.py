"""A study for webMUSHRA, which serves listening tests from a configuration file per rater and WAV files.

Nothing of webMUSHRA is here, whose licence is its own: only files that it reads are written.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import soundfile
import yaml

from evalkit.audio import read
from evalkit.errors import EvalkitError
from evalkit.listening.page import ABOUT, ANCHORS, QUESTIONS
from evalkit.listening.study import Study
from evalkit.store.files import is_empty_or_new, write_folder

CONFIGS, RESOURCES = "configs", "configs/resources"  # as webMUSHRA has them, below its root


def export(study: Study, output: Path) -> list[str]:
    """Write a study as files to be laid over webMUSHRA's own; returns the names of the configurations, one per rater.

    Raises EvalkitError for a study of pairs, clips that are not there, and a folder that holds something already.
    """
    if study.pairs:
        raise EvalkitError(
            "webMUSHRA's paired comparison asks which of two clips is the reference, and has no question of "
            "preference: export a study of --method rating"
        )
    if not is_empty_or_new(output):
        raise EvalkitError(f"--output {output}: something is there: name a new folder")
    names = {session: f"evalkit-{study.id[:8]}-{session}" for session in study.sessions}
    write_folder(output, lambda folder: _write(folder, study, names))
    return [f"{name}.yaml" for name in names.values()]


def _write(folder: Path, study: Study, names: Mapping[str, str]) -> None:
    sounds = f"{RESOURCES}/evalkit-{study.id[:8]}"
    (folder / sounds).mkdir(parents=True)
    used = [item for session in study.sessions.values() for page in session["pages"] for item in page]
    practice = study.facts["practice"]["items"][0]
    melodies = [prompt["melody"] for prompt in study.facts["prompts"].values() if "melody" in prompt]
    for item in dict.fromkeys([practice, *used, *melodies]):
        if not study.sound(item).is_file():
            raise EvalkitError(f"'{study.sound(item)}' is not there: get it from a copy, or make the study again")
        clip = read(study.sound(item))
        soundfile.write(folder / sounds / f"{item}.wav", clip.samples.T, clip.rate, subtype="PCM_16")
    for session, name in names.items():
        config = configuration(study, session, name, sounds)
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=10**9)
        (folder / CONFIGS / f"{name}.yaml").write_text(text, "utf-8")


def configuration(study: Study, session: str, name: str, sounds: str) -> dict[str, Any]:
    """What webMUSHRA reads for one rater: pages of several clips, each rated on a scale of five."""
    facts = study.facts
    about = "".join(f"<p>{text}</p>" for text in ABOUT[study.axis])
    low, high = facts["scale"]
    step = (high - low + 1) / len(ANCHORS[study.axis])
    response = [
        {"value": round(low + step * (place + 0.5) - 0.5), "label": label}
        for place, label in enumerate(ANCHORS[study.axis])
    ]
    return {
        "testname": "Listening test",
        "testId": name,
        "bufferSize": 2048,
        "stopOnErrors": True,
        "showButtonPreviousPage": True,
        "remoteService": "service/write.php",
        "pages": [
            {"type": "generic", "id": "welcome", "name": QUESTIONS[study.axis], "content": about},
            {
                "type": "volume", "id": "volume", "name": "Volume", "defaultVolume": 0.5,
                "content": "Set the volume so that the music is comfortable, and do not change it later.",
                "stimulus": f"{sounds}/{facts['practice']['items'][0]}.wav",
            },
            *(
                {
                    "type": "likert_multi_stimulus", "id": f"page{number}", "name": QUESTIONS[study.axis],
                    "mustRate": True, "mustPlayback": "ended", "content": _content(study, page, sounds),
                    "stimuli": {item: f"{sounds}/{item}.wav" for item in page}, "response": response,
                }
                for number, page in enumerate(study.sessions[session]["pages"])
            ),
            {
                "type": "finish", "name": "Thank you", "content": "Thank you for listening.", "showResults": False,
                "writeResults": True,
            },
        ],
    }  # fmt: skip


def _content(study: Study, page: Sequence[str], sounds: str) -> str:
    """What stands beside the clips, as HTML."""
    prompt = study.facts["prompts"][study.facts["items"][page[0]]["prompt"]]
    if study.axis == "relevance":
        given = f"<p>{html.escape(prompt['translation'])}</p>" if prompt.get("translation") else ""
        return f"<blockquote>{html.escape(prompt['caption'])}{given}</blockquote>"
    if "melody" in prompt:
        return f'<p>The melody:</p><audio controls src="{sounds}/{prompt["melody"]}.wav"></audio>'
    return ""
