"""A browser without a window: opens pages of the book, looks at them, prints them.

It is Chromium, as installed on the machine, driven over two pipes by its own protocol (https://chromedevtools.github.io/devtools-protocol):
``make pdf`` prints the book with it, and the tests open every page in it.
"""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

from eegfmri import project
from eegfmri.errors import EegFmriError

#: Names that Chromium goes by.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

#: What keeps it from asking, updating and reaching out.
_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def executable() -> str | None:
    """Return the path of Chromium or Chrome, or None where neither is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)


#: The browser reads from descriptor 3 and writes to descriptor 4, whatever else those are here.
_HAND_OVER = (
    "import fcntl, os, sys; there = [fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]]; "
    "os.dup2(there[0], 3); os.dup2(there[1], 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Page:
    """One tab: what it shows, what it has said, and what it has asked for.

    Attributes
    ----------
    messages : list of str
        Errors and warnings that the page has written to its console since it was opened, uncaught exceptions among them.
    failed : list of str
        Addresses that could not be loaded since then.
    loaded : list of str
        Every address that was asked for since then, the page's own first; what the page itself holds is none.
    """

    def __init__(self, browser: "_Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.messages: list[str] = []
        self.failed: list[str] = []
        self.loaded: list[str] = []
        self._addresses: dict[str, str] = {}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> dict:
        """Call a method of the protocol and return its result."""
        return self._browser.call(method, parameters, self._session, self._hear)

    def open(self, address: str, timeout: float = 60.0) -> None:
        """Open an address and wait until the page and what it loads are there.

        Parameters
        ----------
        address : str
            Usually of a file.
        timeout : float, default=60.0
            Seconds until waiting is given up.

        Raises
        ------
        EegFmriError
            If the page is not there by then.
        """
        self.call("Page.navigate", url="about:blank")
        self.wait("document.readyState === 'complete'", timeout)
        for kept in (self.messages, self.failed, self.loaded, self._addresses):
            kept.clear()
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'", timeout)

    def wait(self, condition: str, timeout: float = 60.0) -> None:
        """Wait until an expression is true in the page.

        Parameters
        ----------
        condition : str
            JavaScript.
        timeout : float, default=60.0
            Seconds until waiting is given up.

        Raises
        ------
        EegFmriError
            If it is not true by then.
        """
        end = time.monotonic() + timeout
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise EegFmriError(f"The page was not ready after {timeout:g} s: {condition} is false.")
            time.sleep(0.03)

    def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression in the page; a promise is waited for.

        Parameters
        ----------
        expression : str
            JavaScript; its value must be one that JSON can hold.

        Returns
        -------
        object
            As JSON gives it.

        Raises
        ------
        EegFmriError
            If it throws.
        """
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            thrown = answer["exceptionDetails"]
            raise EegFmriError(f"The page threw {thrown.get('exception', {}).get('description') or thrown['text']}")
        return answer["result"].get("value")

    def resize(self, width: int, height: int) -> None:
        """Give the page a size in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def prefer(self, scheme: str = "light", media: str = "screen") -> None:
        """Say what the system prefers: ``light`` or ``dark``, on ``screen`` or in ``print``."""
        self.call(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )

    def picture(self, whole: bool = False) -> bytes:
        """Return a PNG of what the window shows, or of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])

    def pdf(self) -> bytes:
        """Return the page as it is printed on A4."""
        answer = self.call(
            "Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69, generateTaggedPDF=True,
            marginTop=0.6, marginBottom=0.6, marginLeft=0.6, marginRight=0.6, preferCSSPageSize=False,
        )  # fmt: skip
        return base64.b64decode(answer["data"])

    def _hear(self, method: str, about: dict) -> None:
        """Take note of what the page says of itself."""
        if method == "Network.requestWillBeSent":
            address = about["request"]["url"]
            self._addresses[about["requestId"]] = address[:200]
            if not address.startswith("data:"):
                self.loaded.append(address)
        elif method == "Network.loadingFailed" and not about.get("canceled"):
            self.failed.append(f"{self._addresses.get(about['requestId'])}: {about['errorText']}")
        elif method == "Runtime.exceptionThrown":
            details = about["exceptionDetails"]
            self.messages.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            said = " ".join(str(part.get("value", part.get("description", ""))) for part in about["args"])
            self.messages.append(f"{about['type']}: {said}")
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            entry = about["entry"]
            if "GL Driver Message" in entry["text"]:
                return  # of a machine that draws without a graphics card
            self.messages.append(f"{entry['level']}: {entry['text']} {entry.get('url', '')}".strip())


class _Browser:
    """The process and its two pipes; messages are JSON, with a zero byte after each."""

    def __init__(self, process: subprocess.Popen, to: int, back: int) -> None:
        self._process, self._to, self._back = process, to, back
        self._counted, self._rest = itertools.count(1), b""

    def call(
        self, method: str, parameters: dict, session: str | None = None, hear=None, timeout: float = 300.0
    ) -> dict:
        number = next(self._counted)
        message = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        rest = memoryview(json.dumps(message).encode() + b"\0")
        while rest:
            try:
                rest = rest[os.write(self._to, rest) :]
            except BrokenPipeError:
                raise EegFmriError(f"The browser is gone, it cannot be asked for {method}.") from None
        end = time.monotonic() + timeout
        while True:
            answer = self._read(end - time.monotonic(), method)
            if answer.get("id") == number:
                if "error" in answer:
                    raise EegFmriError(f"The browser refused {method}: {answer['error']['message']}")
                return answer["result"]
            if "method" in answer and hear is not None and answer.get("sessionId") == session:
                hear(answer["method"], answer["params"])

    def _read(self, seconds: float, method: str) -> dict:
        """Return the next message."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._back], [], [], max(0.0, seconds))
            part = os.read(self._back, 1 << 20) if ready else b""
            if not part:
                raise EegFmriError(f"The browser did not answer {method}: it was closed, or is too slow.")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


@contextlib.contextmanager
def browsing(width: int = 1400, height: int = 1000) -> Iterator[Page]:
    """Start a browser and give a page of it; both are gone afterwards.

    Parameters
    ----------
    width : int, default=1400
        Of the page in CSS pixels.
    height : int, default=1000
        The same.

    Yields
    ------
    Page
        Empty.

    Raises
    ------
    EegFmriError
        If there is no Chromium, or it does not start.
    """
    program = executable()
    if program is None:
        raise EegFmriError(
            "No Chromium was found: install chromium or Google Chrome so that its command is on the PATH."
        )
    with project.temporary_folder("browser") as folder, contextlib.ExitStack() as closing:
        read_there, to = os.pipe()
        back, write_there = os.pipe()
        for number in (to, back):
            closing.callback(os.close, number)
        words = [program, *_OPTIONS, f"--user-data-dir={folder}", f"--window-size={width},{height}"]
        there = [sys.executable, "-S", "-c", _HAND_OVER, str(read_there), str(write_there), *words]
        try:
            process = subprocess.Popen(
                there,
                pass_fds=(read_there, write_there),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(read_there)
            os.close(write_there)
        try:
            browser = _Browser(process, to, back)
            target = browser.call("Target.createTarget", {"url": "about:blank"})["targetId"]
            session = browser.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
            page = Page(browser, session)
            page.resize(width, height)
            yield page
        finally:
            with contextlib.suppress(EegFmriError, OSError):
                browser.call("Browser.close", {}, timeout=5.0)
            _end(process)


def _end(process: subprocess.Popen) -> None:
    """Wait for the browser to end, and end it with its children if it does not."""
    import signal

    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
