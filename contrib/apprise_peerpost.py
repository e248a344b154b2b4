"""Peerpost for Apprise (https://github.com/caronc/apprise): what Apprise sends goes to contacts of yours.

    apprise --plugin-path /path/to/apprise_peerpost.py -t web1 -b "the disk is full" "peerpost://bob/carol?home=/srv/alerts"

    peerpost://NAME[/NAME...][/#TAG...][?home=DIR][&expires=DURATION]

It runs the command `peerpost`, which has to be on the PATH, so it does not matter which Python Apprise has. A message
is queued on the disk when Apprise says that it was sent; Peerpost delivers it as soon as the contact can be reached.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any, ClassVar

from apprise import NotifyFormat, NotifyType, OverflowMode
from apprise.manager_plugins import NotificationManager
from apprise.plugins.base import NotifyBase

TIMEOUT_S = 120
"""How long a command may take. It waits for nothing but the node, which may have to be started."""


class NotifyPeerpost(NotifyBase):
    """Contacts and tags of one home."""

    service_name = "Peerpost"
    service_url = "https://github.com/caronc/apprise"
    protocol = "peerpost"
    request_rate_per_sec = 0
    notify_format = NotifyFormat.TEXT
    attachment_support = True
    title_maxlen = 250
    # A text has 60 KiB, and a character up to 4 bytes. What is longer becomes several texts.
    body_maxlen = 15_000
    overflow_mode = OverflowMode.SPLIT

    templates = ("{schema}://{targets}",)
    template_tokens: ClassVar[dict[str, Any]] = {
        **NotifyBase.template_tokens,
        "targets": {"name": "Contacts and #tags", "type": "list:string", "required": True},
    }
    template_args: ClassVar[dict[str, Any]] = {
        **NotifyBase.template_args,
        "home": {"name": "Home", "type": "string"},
        "expires": {"name": "Expires", "type": "string"},
    }

    def __init__(
        self,
        targets: list[str] | None = None,
        home: str | None = None,
        expires: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Take names of contacts, and tags, which begin with #. Raises TypeError if there are none."""
        super().__init__(**kwargs)
        self.targets = [target for target in targets or () if target.strip("#")]
        self.home = home
        self.expires = expires
        if not self.targets:
            message = "peerpost:// names neither a contact nor a #tag"
            self.logger.warning(message)
            raise TypeError(message)

    def send(
        self,
        body: str,
        title: str = "",
        notify_type: NotifyType = NotifyType.INFO,
        attach: Any = None,
        **_: Any,
    ) -> bool:
        """Queue a text, and a file for each attachment. Return whether all of it was queued for everybody."""
        sent = True
        if body or title:
            kind = getattr(notify_type, "value", notify_type)
            told = {"title": title, "body": body, "type": kind}
            sent = self._run("notify", stdin=json.dumps(told))
        for one in attach or ():
            if not one:
                self.logger.warning(
                    "Peerpost: an attachment cannot be read: %s", one.url(privacy=True)
                )
                return False
            # Its own name may be another one than that of the file in which Apprise keeps it.
            sent &= self._run("send", f"--file={one.path}", f"--name={one.name}")
        return sent

    def _run(self, command: str, *arguments: str, stdin: str = "") -> bool:
        program = shutil.which("peerpost")
        if program is None:
            self.logger.warning("Peerpost: there is no command 'peerpost' on the PATH")
            return False
        home = [f"--home={os.path.expanduser(self.home)}"] if self.home else []  # noqa: PTH111
        expires = [f"--expires={self.expires}"] if self.expires else []
        whom = [
            f"--to-tag={target[1:]}" if target.startswith("#") else f"--contact={target}"
            for target in self.targets
        ]
        try:
            done = subprocess.run(
                [program, *home, "--quiet", command, *whom, *expires, *arguments],
                input=stdin,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            self.logger.warning("Peerpost: %s", error)
            return False
        if done.returncode:
            said = " ".join(done.stderr.split())
            self.logger.warning("Peerpost: exit %d: %s", done.returncode, said)
        return done.returncode == 0

    def url(self, privacy: bool = False, *_: Any, **__: Any) -> str:
        """Return the URL that makes the same again."""
        params = {
            **self.url_parameters(privacy=privacy),
            **({"home": self.home} if self.home else {}),
            **({"expires": self.expires} if self.expires else {}),
        }
        targets = "/".join(self.quote(target, safe="") for target in self.targets)
        return f"{self.protocol}://{targets}/?{self.urlencode(params)}"

    @property
    def url_identifier(self) -> tuple[Any, ...]:
        """What tells it from others."""
        return (self.protocol, self.home, *self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    @staticmethod
    def parse_url(url: str) -> dict[str, Any] | None:
        """Return the arguments that a URL stands for."""
        # Only the query is read as that of a URL is: a name may have an @, and a tag begins with #.
        where, _, query = url.partition("?")
        plain = f"{NotifyPeerpost.protocol}://_/" + (
            f"?{query.replace('#', '%23')}" if query else ""
        )
        parsed: dict[str, Any] | None = NotifyBase.parse_url(plain, verify_host=False)
        if not parsed:
            return parsed
        names = where.partition("://")[2].split("/")
        parsed["targets"] = [NotifyBase.unquote(name) for name in names if name]
        for name in ("home", "expires"):
            if parsed["qsd"].get(name):
                parsed[name] = parsed["qsd"][name]
        return parsed


def _added() -> None:
    """Stands for this file in what Apprise has loaded."""


NotificationManager().add(
    NotifyPeerpost, schemas=NotifyPeerpost.protocol, url="peerpost://", send_func=_added
)
