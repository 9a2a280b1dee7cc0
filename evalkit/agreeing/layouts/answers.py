"""Answers to a listening test of evalkit, as raters' pages send them: files, folders of them, or the study's folder."""

from __future__ import annotations

import json
from pathlib import Path

from evalkit.agreeing.layouts import Asked
from evalkit.agreeing.layouts.listening import of_record
from evalkit.agreeing.opinions import Opinions
from evalkit.errors import EvalkitError
from evalkit.listening import reading, rules
from evalkit.listening.analysing import analyse
from evalkit.listening.answers import KIND
from evalkit.listening.study import STUDY
from evalkit.results.folders import MANIFEST

CALLED: tuple[str, ...] = ()


def recognised(path: Path) -> bool:
    """Whether it is a study's folder, or holds answers to one."""
    if path.is_dir():
        inside = sorted(path.glob("*.json"))
        return not (path / MANIFEST).is_file() and ((path / STUDY).is_file() or any(map(_answers, inside[:3])))
    return path.suffix == ".json" and _answers(path)


def _answers(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("kind") == KIND


def read(path: Path, asked: Asked) -> Opinions:
    """Read answers by the rules that `evalkit listen analyse` applies where none are named."""
    try:
        study = reading.study_of([path], None)
    except reading.NoStudy as error:
        raise EvalkitError(f"no {STUDY} lies beside '{path}': put them into the folder of their study") from error
    answers = reading.read_answers(reading.files_of([path]), study)
    return of_record(analyse(study, answers, rules.load()), asked, "answers")
