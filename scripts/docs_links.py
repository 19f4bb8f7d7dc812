"""Checks a built site: every link and anchor within it leads somewhere, and nothing is loaded from elsewhere.

    docs_links.py FOLDER    exit code 1, and a line for each link that does not

mkdocs checks the links that stand in Markdown; this checks those that came out.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}
_LINKS_THAT_LOAD = frozenset({"stylesheet", "icon", "preload", "preconnect", "manifest"})


class _Page(HTMLParser):
    """What a page links to, what it loads, and the anchors it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and _LINKS_THAT_LOAD & set(given.get("rel", "").split()):
            self.loaded.append(given.get("href", ""))
        self.loaded += [value for name, value in given.items() if (tag, name) in _LOADED]


def main(folder: Path) -> int:
    pages = {path.resolve(): _read(path) for path in sorted(folder.rglob("*.html"))}
    # Its links are written for the root of a server.
    pages.pop((folder / "404.html").resolve(), None)
    wrong = [
        f"{path.relative_to(folder.resolve())}: {problem}"
        for path, page in pages.items()
        for problem in problems(path, page, pages)
    ]
    print(*wrong, sep="\n", end="\n" if wrong else "", file=sys.stderr)
    if not pages:
        print(f"no page in {folder}", file=sys.stderr)
        return 1
    if not wrong:
        links = sum(len(page.links) for page in pages.values())
        print(f"docs: {len(pages)} pages in {folder}/, {links} links, none broken")
    return 1 if wrong else 0


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def problems(path: Path, page: _Page, pages: dict[Path, _Page]) -> list[str]:
    """What is wrong with the links of one page."""
    found = [
        f"loads {url}"
        for url in page.loaded
        if urlsplit(url).scheme in {"http", "https"} or url.startswith("//")
    ]
    for url in page.links:
        parts = urlsplit(url)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.is_file():
            found.append(f"{url} leads nowhere")
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            found.append(f"{url}: no such anchor")
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
