"""A page taken apart."""

import re
from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PARTS = ["data", "split", "train", "evaluation", "decision", "deploy", "watch", "timings"]
"""Of a run, in order."""
VOID = {"meta", "link", "br", "img", "path", "line", "rect", "circle", "use", "wbr"}


class Page(HTMLParser):
    """What a page is made of; complains about tags that do not match."""

    def __init__(self, html):
        super().__init__()
        self.open: list[str] = []
        self.tags, self.ids, self.attributes, self.words = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, key, value) for key, value in attrs]
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))
