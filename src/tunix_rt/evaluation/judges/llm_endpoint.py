"""An OpenAI-compatible endpoint, asked with patience: retries, a time limit for the whole reply, replies kept on disk.

The key goes into one header and nowhere else: no file, no log, no message, no digest; a server that sends it back has
it cut out of what we show and keep.
"""

import hashlib
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import rfc8785
from pydantic import SecretStr

from tunix_rt.base import jsontext, store
from tunix_rt.base.errors import BadInput, Unavailable, cut

_REPLY_BYTES = 2**20
_LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for
_CONNECT_SECONDS = 10.0
_MISSES = 20  # requests in a row without a reply, after which there will be none
_SECRET = 8  # characters of a key that is one: servers without keys are given `x` or `EMPTY`
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})


class NoReplyError(Exception):
    """This request got no reply that is of use; another one may."""


class _SilentError(NoReplyError):
    """Every attempt failed."""


@dataclass
class Endpoint:
    """Where a model is asked, and how patiently.

    Attributes:
        url: of the API (`https://host/v1`), without a key.
        folder: where replies are kept, each under the SHA-256 of its request.
        seconds: for one attempt. attempts: at most.
        sleep: what waits between attempts.
    """

    url: str
    key: SecretStr
    folder: Path
    seconds: float = 60.0
    attempts: int = 5
    connections: int = 8
    sleep: Callable[[float], None] = time.sleep
    _plain: bool = field(default=False, init=False)  # no schema is taken
    _missed: int = field(default=0, init=False)  # requests without a reply, one after the other

    @cached_property
    def address(self) -> str:
        """Where completions are asked for.

        Raises:
            BadInput: it is no address, or holds a password.
        """
        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL:
            url = httpx.URL("")
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or url.query:
            raise BadInput(
                "TUNIX_RT_JUDGE_URL is not the address of an API, or it holds more than that.",
                hint="It looks like https://host/v1; the key belongs into TUNIX_RT_JUDGE_KEY.",
            )
        return str(url).rstrip("/").removesuffix("/chat/completions") + "/chat/completions"

    @cached_property
    def _client(self) -> httpx.Client:
        key = self.key.get_secret_value()
        return httpx.Client(
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self.seconds, connect=min(self.seconds, _CONNECT_SECONDS)),
            limits=httpx.Limits(max_connections=self.connections),
        )

    def ask(self, request: dict[str, Any], schema: dict[str, Any], useful: Callable[[str], bool]) -> str:
        """The text that a model replies to a request.

        Args:
            request: model, messages and settings, as the protocol has them.
            schema: of the reply, for a server that can hold to it.
            useful: whether a reply is worth keeping.

        Raises:
            NoReplyError: this request was refused, or every attempt failed.
            Unavailable: no request will be answered: nobody is there, the key or the model is refused, or the last
                `_MISSES` requests had no reply either.
        """
        form: dict[str, Any] = {
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": schema},
        }
        content: dict[str, Any] = {"url": self.address, "request": request, "form": form}
        digest = hashlib.sha256(rfc8785.dumps(content)).hexdigest()
        path = self.folder / digest[:2] / f"{digest}.json"
        kept = _kept(path)
        if kept is not None:
            return kept
        try:
            text = self._with_retries(request, form)
        except _SilentError as silent:
            self._missed += 1
            if self._missed >= _MISSES:
                raise Unavailable(
                    f"The judge's endpoint {self.address} gave no reply to {self._missed} requests: {silent}"
                ) from None
            raise
        self._missed = 0
        if useful(text):
            with store.whole(path) as file:
                file.write(jsontext.dumps({"request": f"sha256:{digest}", "reply": text}))
        return text

    def _with_retries(self, request: dict[str, Any], form: dict[str, Any]) -> str:
        problem = ""
        unreachable = 0
        for attempt in range(self.attempts):
            try:
                body = request if self._plain else {**request, "response_format": form}
                status, headers, content = self._post(body)
                if status in (400, 422, 501) and b"response_format" in content:
                    self._plain = True  # the rules ask for JSON all the same
                    status, headers, content = self._post(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                unreachable += 1
                problem, wait = f"no connection ({type(error).__name__})", 0.0
            except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
                problem, wait = f"no reply ({type(error).__name__})", 0.0
            else:
                if status == 200:
                    return _text(content, self._scrub)
                problem, wait = f"status {status}: {cut(self._scrub(_message(content)))}", _retry_after(headers)
                self._refuse(status, problem)
                if status not in _AGAIN:
                    raise NoReplyError(problem)
            if attempt + 1 < self.attempts:
                backoff = min(_LONGEST_WAIT, 0.5 * 2**attempt) * random.uniform(0.5, 1)
                self.sleep(max(backoff, min(wait, _LONGEST_WAIT)))
        if unreachable == self.attempts:
            raise Unavailable(
                f"The judge's endpoint {self.address} does not answer: {problem}", hint="See TUNIX_RT_JUDGE_URL."
            )
        raise _SilentError(f"{problem}, after {self.attempts} attempts")

    def _refuse(self, status: int, problem: str) -> None:
        hints = {401: "TUNIX_RT_JUDGE_KEY", 403: "TUNIX_RT_JUDGE_KEY", 404: "TUNIX_RT_JUDGE_URL and _MODEL"}
        if status in hints:
            raise Unavailable(f"The judge's endpoint {self.address} refuses: {problem}", hint=f"See {hints[status]}.")

    def _post(self, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        """One attempt: within its time however slowly the reply drips, and no more of it than we read."""
        until = time.monotonic() + self.seconds
        content = b""
        with self._client.stream("POST", self.address, json=body) as answer:
            for chunk in answer.iter_bytes():
                content += chunk
                if time.monotonic() > until:
                    raise TimeoutError
                if len(content) > _REPLY_BYTES:
                    break
        return answer.status_code, answer.headers, content[:_REPLY_BYTES]

    def _scrub(self, text: str) -> str:
        key = self.key.get_secret_value()
        return text.replace(key, "[key]") if len(key) >= _SECRET else text


def _kept(path: Path) -> str | None:
    try:
        reply = json.loads(path.read_bytes())["reply"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return reply if isinstance(reply, str) else None


def _text(content: bytes, scrub: Callable[[str], str]) -> str:
    """The text of a completion; anything else is none."""
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        raise NoReplyError("a reply that is not of the protocol")
    return scrub(text)


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return " ".join(content[:1_000].decode(errors="replace").split())


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds that a server asks to wait, as a number or as a date (RFC 9110, 10.2.3); 0 where it does not."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value)) if value.strip().replace(".", "", 1).isdigit() else _until(value)
    except (ValueError, TypeError):
        return 0.0


def _until(date: str) -> float:
    return max(0.0, parsedate_to_datetime(date).timestamp() - time.time()) if date else 0.0
