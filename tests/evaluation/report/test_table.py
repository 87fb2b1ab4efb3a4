"""Tables of the evaluation, printed and on a page."""

from html.parser import HTMLParser

from v2s_jax.evaluation.report.table import Table

SCORES = Table("Hits", ["", "a", "b"], [["drum", "1", "22"], ["water", "10", "2"]], ["of 3 clips"])


class Cells(HTMLParser):
    """Collects what stands in each cell, and every tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data)


def test_text_has_the_first_column_left_and_numbers_right():
    assert SCORES.as_text() == "Hits\n        a   b\ndrum    1  22\nwater  10   2\nof 3 clips"


def test_page_has_the_same_cells():
    page = Cells(SCORES.as_html())
    assert page.texts == ["Hits", "a", "b", "drum", "1", "22", "water", "10", "2", "of 3 clips"]
    assert page.tags.count("tr") == 3


def test_without_rows_the_notes_say_why():
    empty = Table("Hits", notes=["no clips"])
    assert empty.as_text() == "Hits\nno clips"
    assert Cells(empty.as_html()).texts == ["Hits", "no clips"]


def test_names_from_outside_are_text():
    evil = '"><script>alert(1)</script>'
    page = Cells(Table(evil, [evil, evil], [[evil, evil]], [evil]).as_html())
    assert "script" not in page.tags
    assert page.texts == [evil] * 6
