"""List the external links of the README and the book, each with its kind; `--check` asks each for an answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from hsisr_core.base import project_root, run_command
from hsisr_core.errors import HsisrError

KINDS = {
    r"doi\.org": "publication", r"arxiv\.org": "publication", r"ieee|springer|openaccess": "publication",
    r"github\.com|gitlab": "code", r"huggingface\.co|columbia|harvard|manchester|purdue": "data",
}  # fmt: skip


def find_links(root: Path) -> dict[str, list[str]]:
    """The external addresses in README.md, CONTRIBUTING.md and book/, with the files that name them."""
    found: dict[str, list[str]] = {}
    pages = [root / "README.md", root / "CONTRIBUTING.md", *(root / "book").glob("*.*")]
    for path in sorted(page for page in pages if page.suffix in (".md", ".ipynb", ".bib")):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        links = re.findall(r"https?://[^\s)>\"'`}|]+", text)
        links += [f"https://doi.org/{doi}" for doi in re.findall(r"^\s*doi\s*=\s*{(.+?)}", text, re.M)]
        for link in dict.fromkeys(link.rstrip(".,;") for link in links):
            if not re.match(r"https?://(localhost|127\.)", link):
                found.setdefault(link, []).append(path.name)
    return dict(sorted(found.items()))


def kind(link: str) -> str:
    """What is behind an address: a publication, data, code, or a page."""
    return next((name for pattern, name in KINDS.items() if re.search(pattern, link)), "page")


def answer(link: str) -> str:
    """What the address answers: the status, or why there is none."""
    import requests

    try:
        with requests.get(link, timeout=20, stream=True, headers={"User-Agent": "Mozilla/5.0"}) as response:
            return str(response.status_code)
    except requests.RequestException as error:
        return type(error).__name__


def main(
    check: Annotated[bool, typer.Option("--check", help="Ask each address; needs a network.")] = False,
) -> None:
    """List the external links of the README and the book."""
    broken = 0
    for link, pages in find_links(project_root()).items():
        said = answer(link) if check else ""
        # a publisher may refuse programs (403, 429); an address that is gone answers otherwise
        broken += said in ("404", "410", "ConnectionError")
        typer.echo(f"{kind(link):<12}{said:<6}{link}  ({', '.join(pages)})")
    if broken:
        raise HsisrError(f"{broken} addresses do not answer.")


if __name__ == "__main__":
    run_command(main)
