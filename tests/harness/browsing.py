"""A tab of a browser and all that it complains of, for the tests of the page."""

import shutil

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


class Watched:
    """A tab and all that it complains of."""

    def __init__(self, context, file):
        self.tab, self.file, self.said = context.new_page(), file, []
        self.tab.on("console", self._console)
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", self._request)

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.said.append(message.text)

    def _request(self, request):
        if not request.url.startswith("file:"):
            self.said.append(f"asks for {request.url}")

    def go(self, fragment=""):
        self.tab.goto("about:blank")
        self.tab.goto(self.file.as_uri() + fragment)
        return self.tab
