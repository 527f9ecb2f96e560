"""HTTP as the hub needs it: JSON answers, streams that can begin in the middle, and no token for strangers."""

import http.client
import json
import os
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import __version__
from core.hub.problems import HubError, Subject, refused
from core.units import MIB

DEFAULT_ENDPOINT = "https://huggingface.co"
SECONDS = 20.0
"""How long a connection may be silent before it counts as broken."""

_MAX_JSON = 64 * MIB
_MAX_REDIRECTS = 8
_YES = ("1", "on", "yes", "true")
_PARTIAL, _REDIRECTS, _REFUSALS = 206, range(300, 400), 400
# Where distributions keep certificates, for a Python whose own OpenSSL was built to look somewhere else.
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

Query = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose body is still to be read.

    Attributes:
        headers: by their names in small letters.
        start: the byte of the file with which the body begins: 0 when the server ignored a range.
    """

    headers: Mapping[str, str]
    start: int
    body: http.client.HTTPResponse

    def read_some(self, most: int) -> bytes:
        """What has come, at most so many bytes; waits for the first of them, empty at the end."""
        return self.body.read1(most)


def endpoint() -> str:
    """The hub's address, by ``HF_ENDPOINT`` as all its tools have it.

    Raises:
        HubError: the variable holds no web address.
    """
    address = (os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).strip().rstrip("/")
    parts = urllib.parse.urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HubError(
            "name",
            f"The variable HF_ENDPOINT holds “{address}”, which is not a web address.",
            "Give it an address such as https://huggingface.co, or remove it.",
            path="HF_ENDPOINT",
        )
    return address


def require_online() -> None:
    """Says so when the user has forbidden the network with ``HF_HUB_OFFLINE``.

    Raises:
        HubError: it is forbidden.
    """
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if os.environ.get(name, "").strip().lower() in _YES:
            raise HubError(
                "offline",
                f"The hub is not asked, because the variable {name} forbids it.",
                f"Remove {name} from the environment and start again; models that are here already work without.",
                path=name,
            )


def get_json(path: str, query: Query, subject: Subject, token: str = "", *, most: int = _MAX_JSON) -> Any:
    """The JSON that the hub answers to a question.

    Raises:
        HubError: it cannot be reached, refuses, or answers something else.
    """
    url = f"{subject.endpoint}{path}{'?' + urllib.parse.urlencode(query) if query else ''}"
    blob = get_bytes(url, subject, token, most=most)
    try:  # cut off where it is far too long, it is no JSON either
        return json.loads(blob.decode("utf-8"))
    except (ValueError, RecursionError) as failure:
        raise HubError(
            "answer",
            f"{subject.host} answered something that is not JSON.",
            "If this network asks to sign in on a web page, do that first. If HF_ENDPOINT is set, check that it names "
            "a Hugging Face hub.",
        ) from failure


def get_bytes(url: str, subject: Subject, token: str = "", *, most: int) -> bytes:
    """What stands at an address, up to so many bytes.

    Raises:
        HubError: it cannot be reached, or refuses.
    """
    with opened(url, subject, token) as response:
        try:
            return response.body.read(most)
        except (OSError, http.client.HTTPException) as failure:
            raise unreachable(failure, subject) from failure


@contextmanager
def opened(url: str, subject: Subject, token: str = "", *, method: str = "GET", start: int = 0) -> Iterator[Response]:
    """An open answer; redirects are followed, and the token goes to the hub's own address only.

    Args:
        url: the whole address.
        subject: what is asked for, for complaints.
        token: sent along if not empty.
        method: GET, or HEAD, where a redirect to another address is the answer: its headers describe the file.
        start: the byte to begin with.

    Raises:
        HubError: there is no network, or the server refuses.
    """
    require_online()
    opener = _opener()
    for _ in range(_MAX_REDIRECTS):
        own = _origin(url) == _origin(subject.endpoint)
        headers = {"User-Agent": f"lowrank-studio/{__version__}", "Accept-Encoding": "identity"}
        if token and own:
            headers["Authorization"] = f"Bearer {token}"
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 (web addresses only)
            answer = opener.open(request, timeout=SECONDS)
        except (OSError, http.client.HTTPException, ValueError) as failure:
            raise unreachable(failure, subject) from failure
        with answer:
            said = {name.lower(): value for name, value in answer.headers.items()}
            if answer.status in _REDIRECTS and said.get("location"):
                url = _next_address(url, said["location"], subject)
                if method != "HEAD" or _origin(url) == _origin(subject.endpoint):
                    continue
            if answer.status >= _REFUSALS:
                raise refused(subject, answer.status, said)
            yield Response(said, _first_byte(answer.status, said, start, subject), answer)
            return
    raise HubError("answer", f"{subject.host} sends the request in circles.", "Check HF_ENDPOINT if you have set it.")


def _first_byte(status: int, headers: Mapping[str, str], asked: int, subject: Subject) -> int:
    if status != _PARTIAL:
        return 0
    said = headers.get("content-range", "").removeprefix("bytes").strip().partition("-")[0]
    if said != str(asked):
        raise HubError(
            "answer",
            f"{subject.host} was asked for the bytes from {asked:,} on and sent others.",
            "Try again later; if it happens again, a proxy on the way spoils downloads.",
        )
    return asked


def unreachable(failure: Exception, subject: Subject) -> HubError:
    """A broken or impossible connection, as a problem."""
    cause = failure.reason if isinstance(failure, urllib.error.URLError) else failure
    host = subject.host
    if isinstance(cause, ssl.SSLCertVerificationError):
        return HubError(
            "unreachable",
            f"The connection to {host} is not safe: its certificate cannot be verified ({cause.verify_message}).",
            "Check this computer's clock. In a company network, set SSL_CERT_FILE to its certificate.",
        )
    if isinstance(cause, TimeoutError):
        return HubError(
            "unreachable",
            f"{host} did not answer within {SECONDS:.0f} seconds.",
            "Check the network connection and try again.",
        )
    text = str(cause).strip() or type(cause).__name__
    if "Tunnel connection failed" in text:
        return HubError(
            "unreachable", f"The proxy refused the way to {host}: {text}.", "Check HTTPS_PROXY and its password."
        )
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else text
    return HubError(
        "unreachable",
        f"{host} cannot be reached: {reason}.",
        "Check the network connection, and the proxy if there has to be one (HTTPS_PROXY).",
    )


def _next_address(url: str, location: str, subject: Subject) -> str:
    target = urllib.parse.urljoin(url, location)
    if urllib.parse.urlsplit(target).scheme not in ("http", "https"):
        raise HubError(
            "answer", f"{subject.host} points to {target[:80]}, which is no web address.", "Try again later."
        )
    return target


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _opener() -> urllib.request.OpenerDirector:
    """Connects through the proxies of the environment (or the system); statuses and redirects are handled here."""
    opener = urllib.request.OpenerDirector()
    opener.add_handler(urllib.request.ProxyHandler())
    opener.add_handler(urllib.request.HTTPHandler())
    opener.add_handler(urllib.request.HTTPSHandler(context=_certificates()))
    return opener


def _certificates() -> ssl.SSLContext:
    """Trusts what the system trusts; ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` go before."""
    chosen = any(os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"))
    if sys.platform in ("win32", "darwin") and not chosen:
        import truststore

        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not chosen and not (paths.cafile or paths.capath):
        for name in _CERTIFICATES:
            if Path(name).is_file():
                context.load_verify_locations(name)
                break
    return context
