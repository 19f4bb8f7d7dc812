"""Shows the page of `orch board` as pictures: show_board.py FOLDER.

Writes board.html of sample values and, where Chromium is found, PNGs of a phone and a wide screen, light and dark, and a PDF as it
prints. For the eye; tests/contract/test_board_browser.py holds what can be held.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from orchestrator.report import board_html
from tests import board_samples, browser


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for name, overview in (("board", board_samples.small()), ("large", board_samples.large())):
        page = folder / f"{name}.html"
        page.write_text(board_html.render(overview), encoding="utf-8")
        print(f"{page}: {page.stat().st_size:,} bytes")
    if browser.find() is None:
        print("no Chromium on PATH: no pictures, only the pages")
        return 0
    url = (folder / "board.html").resolve().as_uri()
    with browser.open_page() as tab:
        for width in (390, 1400):
            for scheme in ("light", "dark"):
                tab.show(url, width=width, is_dark=scheme == "dark")
                browser.save(tab.picture(), folder / f"board-{width}-{scheme}.png")
        browser.save(tab.printed(), folder / "board.pdf")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
