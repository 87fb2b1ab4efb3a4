"""Tables of the evaluation as text."""

from v2s_jax.evaluation.report.tables import Table


def test_text_has_the_first_column_left_and_numbers_right():
    rows = [["drum", "1", "22"], ["water", "[b]10[/b]", ":ok:"]]
    table = Table("Hits", ["", "a", "b"], rows, ["of 3 clips"])
    assert table.as_text() == (
        "Hits\n               a     b\ndrum           1    22\nwater  [b]10[/b]  :ok:\nof 3 clips"
    )


def test_without_rows_the_notes_say_why():
    assert Table("Hits", notes=["no clips"]).as_text() == "Hits\nno clips"
