"""Receipts from lines of text: amounts, dates, the right total among many, arithmetic."""

import datetime
from decimal import Decimal

import pytest
from omni_visual_chat.amounts import amounts, dates
from omni_visual_chat.receipts import read_receipt

from omni.capabilities import Region


def page(*rows):
    """Regions from rows of strings; each string is a line, side by side."""
    found = []
    for number, row in enumerate(rows):
        for column, text in enumerate([row] if isinstance(row, str) else row):
            left = 20 + 200 * column
            found.append(Region("text", text, (left, 30 * number, left + 9 * len(text), 30 * number + 20), 0.98))
    return found


@pytest.mark.parametrize(
    ("text", "printed", "value"),
    [
        ("RM20.40", ["RM20.40"], "20.40"),
        ("Total RM 9.00", ["9.00"], "9.00"),
        ("170. 00", ["170.00"], "170.00"),
        ("31 00", ["31.00"], "31.00"),
        ("€ 4.904,94", ["4.904,94"], "4904.94"),
        ("1,234.50", ["1,234.50"], "1234.50"),
        ("-0.01", ["-0.01"], "-0.01"),
        ("6.00%", [], None),
        ("25.12.2018", [], None),
        ("07-3523888", [], None),
        ("$8.20", ["$8.20"], "8.20"),
    ],
)
def test_amounts_as_printed_and_as_values(text, printed, value):
    found = amounts(text)
    assert [one.text for one in found] == printed
    if value:
        assert found[0].value == Decimal(value)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("25/12/2018 8:13:39 PM", "2018-12-25"), ("18/03/18 15:17", "2018-03-18"), ("03 Mar 2018", "2018-03-03"),
        ("August 3, 2014", "2014-08-03"), ("2018-03-14", "2018-03-14"), ("19 april 2014", "2014-04-19"),
        ("27032018", "2018-03-27"),
        ("12/25/2018", "2018-12-25"), ("8-9-2022", "2022-09-08"), ("31/02/2018", None), ("999999", None),
        ("12/34/5678", None),
    ],
)  # fmt: skip
def test_dates_of_many_shapes(text, iso):
    found = dates(text, today=datetime.date(2026, 1, 1))
    assert [one.value.isoformat() for one in found] == ([iso] if iso else [])


def test_the_total_is_confirmed_by_what_was_paid():
    found = read_receipt(
        page(
            "GREEN LEAF TRADING SDN BHD", "(123456-X)", "12, JALAN BUNGA 3,", "43000 KAJANG, SELANGOR", ["Date:",
            "05/06/2019 10:11"],
            ["Tea", "12.00"], ["Rice", "16.31"], ["Subtotal", "28.31"], ["Rounding Adj", "-0.01"], ["TOTAL", "28.30"],
            ["CASH", "50.00"], ["CHANGE", "21.70"], ["GST summary", "Amount"], ["Total", "28.31"],
        )
    )  # fmt: skip
    assert found.total.text == "28.30"
    assert found.total.checked == "50.00 paid less 21.70 change"
    assert found.company.text == "GREEN LEAF TRADING SDN BHD"
    assert found.date.value == "2019-06-05"
    assert found.address.text == "12, JALAN BUNGA 3, 43000 KAJANG, SELANGOR"
    assert found.total.boxes == ((220, 270, 265, 290),)


@pytest.mark.parametrize("word", ["Grand Total", "TOTAI", "Amount Due", "Nett Total:", "Totaal", "Total (incl. GST)"])
def test_many_words_mean_the_total(word):
    found = read_receipt(
        page(
            "SHOP",
            ["Item", "4.00"],
            ["Sub Total", "9.00"],
            ["Tax", "0.54"],
            [word, "9.54"],
            ["Cash", "10.00"],
            ["Change", "0.46"],
        )
    )
    assert found.total.text == "9.54"


def test_a_word_above_its_amount():
    assert read_receipt(page("CAFE", ["Coffee", "3.20"], "GRAND TOTAL", "RM 12.80", "Thank you")).total.text == "12.80"


def test_an_invoice_is_not_from_its_customer():
    found = read_receipt(
        page("Invoice", "Bill to:", "Miller Industries Ltd", "Total 80.00", "Northwind Traders Inc.", "IBAN NL00")
    )
    assert found.company.text == "Northwind Traders Inc."


def test_nothing_is_found_where_nothing_is():
    empty = read_receipt([])
    assert empty.fields() == []
    assert read_receipt(page("hello", "world")).total is None
