"""A command that a container runs once: a small part of sh, which looks at the real files behind the pod's claims.

What it knows: `test` and `[` with -e -f -d -s -r -n -z, `ls`, `cat`, `grep` with -q -v -x -F -i -E, `echo`, `sleep`,
`exit`, `true`, `false`, joined by `|`, `&&`, `||` and `;`, with `!` before a pipeline. Redirections are passed over.
Anything else is not found (127), as in an image without it.
"""

import re
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sandbox.kubernetes.controllers.podstatus import claims_of
from sandbox.kubernetes.resources import Object
from sandbox.kubernetes.volumes import NotBound, Volumes

SHELLS = frozenset({"sh", "/bin/sh", "bash", "/bin/bash"})
NOT_FOUND = 127
_JOINTS = frozenset({"&&", "||", ";"})
_REDIRECTION = re.compile(r"\s\d?>{1,2}\s*(?:&\d|\S+)")


class Left(Exception):
    """`exit`: the script is over."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Script:
    """One run; ``said`` is what it writes, on both of its channels. ``pause`` lets simulated seconds pass."""

    volumes: Volumes
    pod: Object
    pause: Callable[[float], Awaitable[None]]
    said: list[str] = field(default_factory=list)

    async def run(self, command: Sequence[str]) -> int:
        """The exit code."""
        if len(command) > 2 and command[0] in SHELLS and command[1] == "-c":
            try:
                return await self._sequence(_tokens(command[2]))
            except Left as left:
                return left.code
        code, output = await self._command(list(command), "")
        self._say(output)
        return code

    async def _sequence(self, tokens: list[str]) -> int:
        """`&&` and `||` have the same precedence and go from left to right."""
        code, joint = 0, ";"
        for part, following in _split(tokens, _JOINTS):
            if part and (joint == ";" or (joint == "&&") == (code == 0)):
                code = await self._pipeline(part)
            joint = following
        return code

    async def _pipeline(self, tokens: list[str]) -> int:
        negated = tokens[:1] == ["!"]
        code, output = 0, ""
        for part, _ in _split(tokens[1:] if negated else tokens, frozenset({"|"})):
            code, output = await self._command(part, output)
        self._say(output)
        return int(not code) if negated else code

    def _say(self, output: str) -> None:
        self.said += output.splitlines()

    async def _command(self, words: list[str], given: str) -> tuple[int, str]:
        """Exit code and output; what goes wrong is written at once, beside the pipe."""
        name, *rest = words
        match name:
            case "test":
                return self._test(rest), ""
            case "[":
                return self._test(rest[:-1]), ""
            case "ls":
                return self._ls(rest)
            case "cat":
                return self._cat(rest, given)
            case "grep":
                return _grep(rest, given)
            case "echo":
                return 0, f"{' '.join(rest)}\n"
            case "true" | ":":
                return 0, ""
            case "false":
                return 1, ""
            case "sleep":
                await self.pause(float(rest[0]))
                return 0, ""
            case "exit":
                raise Left(int(rest[0]) if rest else 0)
        self._say(f"sh: 1: {name}: not found")
        return NOT_FOUND, ""

    def _test(self, words: list[str]) -> int:
        if words[:1] == ["!"]:
            return int(not self._test(words[1:]))
        if len(words) < 2:
            return int(not any(words))
        flag, text = words[0], words[1]
        if flag in ("-n", "-z"):
            return int(bool(text) != (flag == "-n"))
        path = self._path(text)
        if path is None or not path.exists():
            return 1
        answers = {"-f": path.is_file(), "-d": path.is_dir(), "-s": path.stat().st_size > 0}
        return int(not answers.get(flag, flag in ("-e", "-r")))

    def _ls(self, words: list[str]) -> tuple[int, str]:
        code, names = 0, []
        for text in [word for word in words if not word.startswith("-")] or ["/"]:
            path = self._path(text)
            if path is None or not path.exists():
                self._say(f"ls: cannot access '{text}': No such file or directory")
                code = 2
            else:
                names += sorted(one.name for one in path.iterdir()) if path.is_dir() else [text]
        return code, "".join(f"{name}\n" for name in names)

    def _cat(self, words: list[str], given: str) -> tuple[int, str]:
        if not words:
            return 0, given
        code, output = 0, ""
        for text in words:
            path = self._path(text)
            if path is None or not path.is_file():
                self._say(f"cat: {text}: No such file or directory")
                code = 1
            else:
                output += path.read_text(errors="replace")
        return code, output

    def _path(self, text: str) -> Path | None:
        """Where it lies behind a claim that the pod mounts; None outside of them."""
        claims, target = claims_of(self.pod), PurePosixPath(text)
        for container in self.pod["spec"]["containers"]:
            for mount in container.get("volumeMounts") or []:
                if mount["name"] in claims and target.is_relative_to(mount["mountPath"]):
                    return self._behind(claims[mount["name"]], target.relative_to(mount["mountPath"]))
        return None

    def _behind(self, claim: str, inside: PurePosixPath) -> Path | None:
        try:
            folder = self.volumes.folder_of(self.pod["metadata"]["namespace"], claim).resolve()
        except NotBound:
            return None
        found = (folder / inside).resolve()
        return found if found.is_relative_to(folder) else None


def _tokens(script: str) -> list[str]:
    lexer = shlex.shlex(_REDIRECTION.sub("", script.replace("\n", " ; ")), posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _split(tokens: list[str], joints: frozenset[str]) -> list[tuple[list[str], str]]:
    """The parts between the joints, each with the joint that follows it."""
    parts: list[tuple[list[str], str]] = []
    part: list[str] = []
    for token in tokens:
        if token in joints:
            parts.append((part, token))
            part = []
        else:
            part.append(token)
    return [*parts, (part, ";")]


def _grep(words: list[str], given: str) -> tuple[int, str]:
    flags = "".join(word[1:] for word in words if word.startswith("-"))
    (pattern,) = [word for word in words if not word.startswith("-")]
    wanted = re.compile(re.escape(pattern) if "F" in flags else pattern, re.IGNORECASE if "i" in flags else 0)
    match = wanted.fullmatch if "x" in flags else wanted.search
    found = [line for line in given.splitlines() if bool(match(line)) != ("v" in flags)]
    return int(not found), "" if "q" in flags else "".join(f"{line}\n" for line in found)
