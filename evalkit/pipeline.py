"""The main job: a configuration in, a Result out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from omegaconf import DictConfig

from evalkit import progress
from evalkit.config import key_of
from evalkit.errors import EvalkitError
from evalkit.filling import beyond_one_process
from evalkit.objects import Objects, compose_with
from evalkit.page.writing import write_at_the_end
from evalkit.precision import fixed_precision
from evalkit.prompts.two_folders import Files, TwoFolders
from evalkit.recording import metric_infos, recorded
from evalkit.results.result import Result
from evalkit.scoring.embedding import embed
from evalkit.scoring.rows import clips_of_run, ready
from evalkit.scoring.scores import score
from evalkit.store.cache import Cache
from evalkit.store.known import known_digests
from evalkit.store.leases import lease
from evalkit.store.registers import register
from evalkit.store.runs import RunFolder
from evalkit.trackers import tell

log = logging.getLogger(__name__)


ENOUGH = 4  # files in either folder from which on precision and recall are measured: they need three neighbours


def evaluate(config: DictConfig, given: Objects | None = None, place: Path | None = None) -> Result:
    """Run the main job: prompts to clips, to features, to scores, to the record of all of it.

    Each stage keeps what it makes in the cache, by content, and asks there first: a run that was
    stopped, or that differs from an earlier one, makes only what is new. Raises EvalkitError for a
    mistake of the user and for a file that is missing.

    Args:
        given: components that were made in Python, which the configuration describes.
        place: the folder of the result; None for a new one, named by the time, in the configuration's `output_dir`.
    """
    root = Cache(config.cache_dir).root
    with progress.silenced(config.engine.quiet), lease(root) as held, known_digests(root):
        plan, prompts, slices = ready(config, given)
        folder = RunFolder(place.parent, place.name, stamped=False) if place else RunFolder(plan.output_dir, plan.name)
        held.of(folder.path)
        with fixed_precision(), logging_to(folder, on_screen=not config.engine.quiet):
            with beyond_one_process(plan) as plan:
                clips = clips_of_run(plan, prompts)
                features = embed(plan, prompts.prompts, clips.references, clips.models, clips.calibration)
                scores = score(plan, metric_infos(plan), features, slices)
                result = recorded(folder, plan, prompts, scores)
                register(held, folder.path)
            if config.report:
                write_at_the_end(result)
            tell(result, plan.trackers)
            return result


def check(config: DictConfig) -> None:
    """Check a run without running it. Raises EvalkitError for what `evaluate` refuses before it generates anything."""
    with known_digests(Cache(config.cache_dir).root):
        ready(config)


def compare(generated: str, references: str, overrides: Sequence[str], config_dir: str | None = None) -> Result:
    """Measure the clips of one folder, or list of files, against those of another, without captions.

    The metrics are FAD, KAD, precision and recall if no override selects others, and where names are the same on both
    sides KLD and chroma similarity. Raises EvalkitError as `evaluate` does.
    """
    for option in overrides:
        if key_of(option).partition(".")[0] in ("model", "prompts", "experiment"):
            raise EvalkitError(f"'{option}': evalkit score takes its clips from the two folders: leave it out")
    ours, theirs = Files(generated), Files(references)
    mine, their = ours.listed, theirs.listed
    require_apart(generated, references)
    options = list(overrides)
    if not any(option.startswith("metric=") for option in overrides):
        few = min(len(mine), len(their)) < ENOUGH
        pairs = mine.keys() & their.keys()
        options.append(f"metric=[fad,kad{'' if few else ',precision_recall'}{',kld,chroma' if pairs else ''}]")
    name = Path(generated).expanduser().resolve().name
    return evaluate(*compose_with(options, config_dir, Objects({name: ours}, prompts=TwoFolders(ours, theirs))))


def require_apart(generated: str, references: str) -> None:
    """Raise EvalkitError for a folder that lies in the other, whose files would count on both sides."""
    ours, theirs = (Path(path).expanduser().resolve() for path in (generated, references))
    for inner, outer in ((ours, theirs), (theirs, ours)):
        if outer in inner.parents and inner.is_dir() and outer.is_dir():
            raise EvalkitError(
                f"'{inner}' lies in '{outer}', so that its files would count on both sides: give two separate folders"
            )


@contextmanager
def logging_to(folder: RunFolder, on_screen: bool = True) -> Iterator[None]:
    """Write evalkit's log, and Python's warnings, to the run's folder, and evalkit's warnings to stderr too."""
    file = logging.FileHandler(folder.path / "run.log", encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    file.handleError = lambda record: None  # type: ignore[method-assign]  # a full disk is reported by what writes results
    screen = logging.StreamHandler()
    screen.setLevel(logging.WARNING)
    own, warned = logging.getLogger("evalkit"), logging.getLogger("py.warnings")
    before = own.level, own.propagate, warned.propagate
    own.setLevel(logging.INFO)
    own.propagate = False  # packages that evalkit imports put a handler of their own on the root
    own.handlers += [file, screen] if on_screen else [file]
    warned.handlers += [file]
    warned.propagate = False
    show = warnings.showwarning  # another one where whoever calls this captures warnings too
    logging.captureWarnings(True)
    nothing_done = False
    try:
        yield
    except (EvalkitError, KeyboardInterrupt) as error:
        with suppress(OSError):  # somebody may have removed the folder
            nothing_done = not (folder.path / "run.log").stat().st_size  # each stage logs what it has done
        log.info("the run did not finish: %s", str(error) or "it was interrupted")
        raise
    except BaseException:
        log.info("the run did not finish", exc_info=True)
        raise
    finally:
        if warnings.showwarning is not show:
            logging.captureWarnings(False)
        own.level, own.propagate, warned.propagate = before
        for logger in (own, warned):
            logger.handlers = [h for h in logger.handlers if h not in (file, screen)]
        with suppress(OSError):
            file.close()
        if nothing_done:
            folder.discard()
