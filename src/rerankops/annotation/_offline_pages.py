"""Great Expectations' pages as they work offline and run nothing: what they load from other servers is taken out, and a
few rules of our own stand in for the style sheets that went. Browsers are told to load nothing either. The index, which
a script would fill, lists its pages as links."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from urllib.parse import quote

_LOGO = re.compile(r'src="https://great-expectations-web-assets[^"]*"')
_SCRIPTS = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
_REMOTE_LINKS = re.compile(r"""<link\b[^>]*href=["']?(?:https?:)?//[^>]*>""", re.IGNORECASE)
_REMOTE_STYLES = re.compile(r"""url\(\s*["']?(?:https?:)?//[^)]*\)|@import[^;]*//[^;]*;""", re.IGNORECASE)
_HEAD = re.compile(r"<head[^>]*>", re.IGNORECASE)
_EMPTY_TABLE = re.compile(r"(<table\b[^>]*\bge-index-page-(validation|expectation)[^>]*>)\s*(</table>)")
_LISTED = {"validation": "validations", "expectation": "expectations"}
"""The folder of the pages that each table of the index lists."""
_POLICY = (
    "default-src 'none'; script-src 'none'; style-src 'self' file: 'unsafe-inline'; img-src 'self' file: data:; "
    "font-src 'self' file:; form-action 'none'; base-uri 'none'"
)
_STYLE = """
body { font-family: system-ui, sans-serif; font-size: 15px; line-height: 1.45; margin: 0 auto; max-width: 90em;
       padding: 0 1.5em; color: #222; background: #fff; }
table { border-collapse: collapse; margin: .5em 0 1.5em; max-width: 100%; }
th, td { border: 1px solid #ccc; padding: .3em .6em; text-align: left; vertical-align: top; }
.table-responsive, .show-scrollbars { overflow-x: auto; }
.card, .alert { border: 1px solid #ddd; border-radius: 4px; padding: .5em 1em; margin: .7em 0; }
.row { display: flex; flex-wrap: wrap; } .row > [class*="col-"] { flex: 1 1 20em; }
.badge { border: 1px solid currentColor; border-radius: 4px; padding: 0 .3em; }
.text-success { color: #18723a; } .text-danger { color: #b3202c; } .text-warning { color: #8a5a00; }
.text-success.fas::before { content: "✓ "; } .text-danger.fas::before { content: "✗ "; }
.nav, .navbar-nav, .breadcrumb { list-style: none; padding-left: 0; } .breadcrumb-item { display: inline; }
.breadcrumb-item + .breadcrumb-item::before { content: " › "; }
.btn-group, .btn, .navbar-toggler, .modal, .ge-cta-footer, #ge-cta-footer, footer { display: none; }
img { max-height: 60px; }
"""


def make_offline(folder: Path) -> None:
    """Rewrites every page below a folder. Doing it again changes nothing."""
    for page in folder.rglob("*.html"):
        up = "../" * (len(page.relative_to(folder).parts) - 1)
        text = page.read_text(encoding="utf-8")
        if page.parent == folder:
            text = _EMPTY_TABLE.sub(lambda table: table[1] + _links(folder, _LISTED[table[2]]) + table[3], text)
        page.write_text(offline(text, f"{up}static/images/logo-long.png"), encoding="utf-8")


def _links(folder: Path, kind: str) -> str:
    """A row for each page of a kind: a link that is named by the suite, and the rest of its place."""
    rows = []
    for page in sorted((folder / kind).rglob("*.html")):
        suite, *place = page.relative_to(folder / kind).with_suffix("").parts
        cells = f'<a href="{quote(page.relative_to(folder).as_posix())}">{escape(suite)}</a>', *map(escape, place[:-1])
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "".join(rows)


def offline(page: str, logo: str) -> str:
    """A page without scripts and without anything from elsewhere. logo: where the site's own is."""
    page = _LOGO.sub(f'src="{logo}"', page)
    for unwanted in (_SCRIPTS, _REMOTE_LINKS, _REMOTE_STYLES):
        page = unwanted.sub("", page)
    if _POLICY in page:
        return page
    added = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}"><style>{_STYLE}</style>'
    return _HEAD.sub(lambda head: head[0] + added, page, count=1)
