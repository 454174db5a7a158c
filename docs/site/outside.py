"""Links that lead out of docs/: to the repository where its address is known, otherwise only to a name.

A link to a file that does not exist fails the build. The README is the front page.
"""

import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])+)\]\(\.\./([^)#\s]*)(#[^)\s]*)?\)")
# A relative link of the README.
OWN = re.compile(r"\]\((?![a-z]+:|#|/)([^)]+)\)")


def on_files(files, config):
    def from_docs(match):
        path = match[1]
        return f"]({path.removeprefix('docs/')})" if path.startswith("docs/") else f"](../{path})"

    readme = OWN.sub(from_docs, (ROOT / "README.md").read_text())
    files.append(File.generated(config, "index.md", content=readme))
    return files


def on_page_markdown(markdown, page, config, files):
    def outside(match):
        text, path, anchor = match[1], match[2], match[3] or ""
        if not (ROOT / path).exists():
            raise PluginError(f"{page.file.src_uri}: ../{path} does not exist")
        if config.repo_url:
            kind = "tree" if (ROOT / path).is_dir() else "blob"
            return f"[{text}]({config.repo_url.rstrip('/')}/{kind}/main/{path}{anchor})"
        return text if path.rstrip("/").endswith(text.strip("`/")) else f"{text} (`{path}`)"

    return LINK.sub(outside, markdown)
