"""Serve a listening test on this machine: a secret link for each rater, whose answers are stored as they come.

evalkit listen serve STUDY [--host 127.0.0.1] [--port N] [--name NAME]
"""

from __future__ import annotations

import argparse
import sys

from evalkit.commands import parse, parser_for
from evalkit.errors import EvalkitError


def parser() -> argparse.ArgumentParser:
    """Make the parser of the action."""
    found = parser_for("listen serve", __doc__)
    found.add_argument("study", metavar="STUDY", help="the folder that evalkit listen make printed")
    found.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="127.0.0.1: only this machine (default)")
    found.add_argument("--port", type=int, metavar="N", help="that of the last time, or 0 for one that is free")
    found.add_argument("--name", default="", metavar="NAME", help="by which raters reach this machine, if not ADDRESS")
    return found


def main(arguments: list[str]) -> None:
    """Run `evalkit listen serve`, until it is interrupted."""
    parsed = parse(parser(), arguments)
    from evalkit.listening.serving import Server
    from evalkit.listening.study import Study

    if parsed.port is not None and not 0 <= parsed.port <= 65535:
        raise EvalkitError(f"--port {parsed.port}: give a number up to 65535, or 0 for one that is free")
    study = Study.load(parsed.study)
    with Server(study, parsed.host, parsed.port, parsed.name) as server:
        for session, link in server.links().items():
            print(f"{session}  {link}")
        print("each link is for one rater; Ctrl-C ends the server, and the links work again when it is started again")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            print(f"stopped: {server.progress()}", flush=True)
