"""From written text to what is said, word by word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omni_speech.number_words import cardinal, decimal, ordinal, year
from omni_speech.spoken_text import spoken_text, spoken_words


@pytest.mark.parametrize(("written", "said"), [
    ("It costs $42.50 at 5:30 pm.", "It costs forty two dollars and fifty cents at five thirty p m."),
    ("$3.5 million", "three point five million dollars"),
    ("x² + 3x = 10", "x squared plus three x equals ten"),
    ("2½ cups", "two and a half cups"),
    ("20% of 42.50", "twenty percent of forty two point five zero"),
    ("in 1984", "in nineteen eighty four"),
    ("1984 people", "one thousand nine hundred eighty four people"),
    ("The 1990s", "The nineteen nineties"),
    ("March 3rd, 2026", "March third, twenty twenty six"),
    ("Dr. Smith vs. Mr. Jones", "doctor Smith versus mister Jones"),
    ("e.g. 250 ml", "for example two hundred fifty milliliters"),
    ("5 km", "five kilometers"),
    ("1 km", "one kilometer"),
    ("10°C", "ten degrees celsius"),
    ("Call 5551234567", "Call five five five one two three four five six seven"),
    ("-5", "minus five"),
    ("3-5 days", "three to five days"),
    ("C++", "C plus plus"),
    ("H₂O", "H two O"),
    ("2026-11-21", "november twenty first twenty twenty six"),
    ("well-known", "well known"),
    ("12:00", "twelve o'clock"),
])  # fmt: skip
def test_written_text_is_said_as_people_say_it(written, said):
    assert spoken_text(written) == said


def test_numbers():
    assert cardinal(0) == "zero"
    assert cardinal(1_000_001) == "one million one"
    assert cardinal(-7) == "minus seven"
    assert ordinal(21) == "twenty first"
    assert ordinal(30) == "thirtieth"
    assert decimal("0.05") == "zero point zero five"
    assert decimal("007") == "zero zero seven"
    assert year(2005) == "two thousand five"
    assert year(1905) == "nineteen oh five"


@given(st.text(max_size=80))
def test_every_written_word_is_kept_and_nothing_but_letters_is_said(text):
    words = spoken_words(text)
    assert [w.written for w in words] == text.split()
    assert all(part.strip() for w in words for part in w.said)
