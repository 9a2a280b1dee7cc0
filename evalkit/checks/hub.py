"""Whether the hub that weights and data come from can be reached; what is on this machine needs none."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from evalkit.checks import Asked, Finding

SUBJECT = "hub"
ORDER = 50
PATIENCE = 3.0  # seconds


def check(asked: Asked) -> Iterator[Finding]:
    """Ask the hub for an answer, unless it must not be asked."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        said = "not asked, as HF_HUB_OFFLINE is set: what is on this machine is used"
        yield Finding("hub", "absent", said, facts={"reachable": None, "offline": True})
        return
    begun = time.monotonic()
    why = unreachable(constants.ENDPOINT, PATIENCE)
    facts = {"endpoint": constants.ENDPOINT, "reachable": not why, "offline": False}
    if why:
        said = f"{constants.ENDPOINT} cannot be reached ({why}): what is on this machine is used"
        yield Finding("hub", "absent", said, facts=facts)
    else:
        said = f"{constants.ENDPOINT} answers in {time.monotonic() - begun:.1f} s"
        yield Finding("hub", "ok", said, facts=facts)


def unreachable(address: str, patience: float) -> str:
    """Why a server does not answer; empty where it does."""
    answer = ["no answer in " + f"{patience:g} s"]

    def ask() -> None:
        request = urllib.request.Request(address, method="HEAD", headers={"User-Agent": "evalkit"})
        try:
            with urllib.request.urlopen(request, timeout=patience):
                answer[0] = ""
        except urllib.error.HTTPError as error:
            answer[0] = "" if error.code == 405 else f"it answers with status {error.code}"
        except (OSError, ValueError) as error:
            cause = getattr(error, "reason", error)
            answer[0] = str(getattr(cause, "strerror", None) or cause) or type(error).__name__

    # in a thread, because looking up a name has no time limit
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return answer[0]
