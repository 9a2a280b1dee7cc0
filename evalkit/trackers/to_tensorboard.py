"""TensorBoard: event files in a folder, for each run one below it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evalkit.errors import EvalkitError
from evalkit.report.literal import literal
from evalkit.report.numbers import absent
from evalkit.report.to_markdown import escaped
from evalkit.store.files import cannot_write
from evalkit.trackers import package
from evalkit.trackers.run import Limits, Run, Sound, part, shell

OUTPUT = "results/tensorboard"
EVENTS = "events.out.tfevents.*"


@dataclass(frozen=True)
class Tracker:
    """Writes event files into OUTPUT/PROJECT/RECORD/RUN, in the place of those that are there.

    Attributes:
        project: a folder below the output, in which records are kept together.
        output: the folder that TensorBoard is started on; None for results/tensorboard.
        rows: of a table, which is shown as text, at most.
        sounds: of each metric, the best and the worst clips, so many of each.
        report: whether the page of the record is put beside them.
    """

    project: str = "evalkit"
    output: str | None = None
    rows: int = 100
    sounds: int = 3
    report: bool = True

    @property
    def limits(self) -> Limits:
        """How much of a record it is given."""
        return Limits(self.rows, self.sounds, self.report, "wav")

    @property
    def folder(self) -> Path:
        """Where TensorBoard is started."""
        return Path(self.output or OUTPUT).expanduser().absolute()

    def check(self) -> None:
        """Raise EvalkitError where the package is not installed, or the output is no folder."""
        _ = self.limits
        package("tensorboard", "tensorboard")
        if "://" in (self.output or ""):
            raise EvalkitError(f"output={self.output}: TensorBoard needs a folder")

    def send(self, runs: Sequence[Run]) -> str:
        """Write the runs of one record, and say how TensorBoard is started on them."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        for run in runs:
            group = self.folder / part(self.project) / part(run.group)
            folder = group / part(run.name)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for old in folder.glob(EVENTS):  # of the same record: TensorBoard would show both
                    old.unlink()
                for name, path in run.files.items():
                    shutil.copyfile(path, group / part(name))
            except OSError as error:
                raise cannot_write(folder, error) from error
            writer = EventFileWriter(str(folder))
            try:
                for summary in summaries(run, group):
                    writer.add_event(Event(wall_time=run.time, step=0, summary=summary))
            finally:
                writer.close()
        return f"'{self.folder}': tensorboard --logdir {shell(self.folder)}"


def summaries(run: Run, group: Path) -> Iterator[Any]:
    """Everything that is shown of a run, in TensorBoard's own form."""
    from tensorboard.plugins.histogram.summary_v2 import histogram_pb
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.plugins.text.summary_v2 import text_pb

    for name, value in run.scalars.items():
        yield scalar_pb(name, value)
    files = "\n".join(f"- {name}: {literal(group / part(name))}" for name in run.files)
    yield text_pb("summary", "\n\n".join(filter(None, [run.text, files])))
    yield text_pb("tags", piped(pd.DataFrame({"tag": run.tags.keys(), "is": run.tags.values()})))
    yield hparams_pb(dict(run.parameters), trial_id=run.key, start_time_secs=run.time)
    for name, frame in run.tables.items():
        yield text_pb(f"table/{name}", piped(frame))
    clips = run.tables.get("clips", pd.DataFrame())
    for name in [str(name) for name in clips if name in run.scalars and clips[name].notna().any()]:
        yield histogram_pb(f"per clip/{name}", clips[name].dropna().to_numpy("float64"))
    for sound in run.sounds:
        yield heard(f"clips/{sound.name}", sound)


def heard(tag: str, sound: Sound) -> Any:
    """A clip as the audio plugin has it: its file, and its caption as it stands beside it."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.audio import metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    caption = escaped(sound.caption)
    about = metadata.create_summary_metadata("", caption, metadata.Encoding.Value("WAV"))
    pair = np.array([[sound.path.read_bytes(), caption.encode()]], dtype=object)
    tensor = make_tensor_proto(pair, dtype=np.object_, shape=pair.shape)
    return Summary(value=[Summary.Value(tag=tag, metadata=about, tensor=tensor)])


def piped(frame: pd.DataFrame) -> str:
    """A frame as a table of Markdown, in which all text stands as it is."""
    lines = [[escaped(str(name)) for name in frame], ["---"] * len(frame.columns)]
    lines += [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return escaped(", ".join(map(str, value)))
    return "" if absent(value) else f"{value:.6g}" if isinstance(value, float) else escaped(value)
