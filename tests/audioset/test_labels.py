import pytest

from transforms.audioset.labels import label_indices, read_class_labels, read_class_names
from transforms.errors import ClipError, SettingError

HEADER = "index,mid,display_name\n"


def message_of(*rows: str) -> str:
    with pytest.raises(SettingError) as caught:
        read_class_labels([HEADER, *rows], "classes.csv")
    assert "classes.csv" in str(caught.value) and len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_classes_are_indices_by_mid():
    lines = [HEADER, '0,/m/09x0r,"Speech"\n', "\n", '1,/m/05zppz,"Male speech, man speaking"\n']
    assert read_class_labels(lines, "c") == {"/m/09x0r": 0, "/m/05zppz": 1}


def test_names_are_by_index():
    lines = [HEADER, '7,/m/09x0r,"Speech"\n', '1,/m/05zppz,"Male speech, man speaking"\n']
    assert read_class_names(lines, "c") == {7: "Speech", 1: "Male speech, man speaking"}


def test_windows_line_ends_do_not_matter():
    assert read_class_labels(["index,mid,display_name\r\n", '0,/m/09x0r,"Speech"\r\n'], "c") == {
        "/m/09x0r": 0
    }


@pytest.mark.parametrize("header", [[], ["mid,index,display_name\n"], ["0,/m/09x0r,Speech\n"], ["\n"]])
def test_another_header_is_refused(header):
    with pytest.raises(SettingError, match=r"classes\.csv: the header is"):
        read_class_labels(header, "classes.csv")


@pytest.mark.parametrize(
    "row",
    ["x,/m/1,A", "-1,/m/1,A", "1.0,/m/1,A", "1,,A", "1,/m/1", "1,/m/1,A,B", "1", f"{'1' * 5_000},/m/1,A"],
)
def test_the_message_names_the_line_of_a_malformed_row(row):
    assert "line 3" in message_of("0,/m/09x0r,Speech\n", row + "\n")


@pytest.mark.parametrize("row", ["1,/m/09x0r,Speech again", "0,/m/other,Other", '0,"/m\nother",Other'])
def test_the_message_names_the_line_of_a_repeated_index_or_mid(row):
    message = message_of("0,/m/09x0r,Speech\n", row + "\n")
    assert "line 3" in message
    assert "is repeated" in message


def test_an_unclosed_quote_is_refused():
    rows = [f"{index},/m/{index},Name of a class\n" for index in range(1, 10_000)]
    message_of('0,/m/09x0r,"Speech\n', *rows)


def test_released_classes_are_527(shared):
    with open(shared / "data" / "audioset" / "class_labels_indices.csv", newline="") as file:
        classes = read_class_labels(file, "c")
    assert sorted(classes.values()) == list(range(527))
    assert classes["/m/09x0r"] == 0


def test_an_index_fits_in_31_bits():
    assert label_indices([2**31 - 1, 0], None) == (0, 2**31 - 1)
    for index in (2**31, -1):
        with pytest.raises(ClipError, match=f"label {index} is not a class index"):
            label_indices([index], None)


def test_of_two_classes_with_the_same_name_the_first_has_it():
    lines = ["index,mid,display_name\n", "0,/m/a,Bell\n", "1,/m/b,Bell\n", "2,/m/c,/m/a\n"]
    assert read_class_labels(lines, "c.csv", display_names=True) == {
        "/m/a": 0,
        "/m/b": 1,
        "/m/c": 2,
        "Bell": 0,
    }
