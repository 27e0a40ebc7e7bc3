"""Company, date, address and total of a receipt or an invoice, by words, geometry and arithmetic.

Every candidate is scored by what stands beside it; the total is confirmed by arithmetic where the page allows
it: what was paid less the change, or the sum before tax plus tax. No template of any shop is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from omni.capabilities import Region
from omni_visual_chat.amounts import Amount, Day, amounts, dates
from omni_visual_chat.page import Field, Row, page_rows, says, tidy

_TOTAL = ("total", "totaal", "totals", "jumlah", "amount due", "balance due", "amt payable", "amount payable",
          "net amt",
          "net amount", "nett", "gesamt", "summe", "montant", "importe", "total amt", "to pay", "te betalen",
          "due")  # fmt: skip
_FINAL = ("grand total", "nett total", "net total", "total payable", "total amt payable", "amount due", "balance due",
          "rounded",
          "total rounded", "total due", "total amount due", "net amt", "net amount", "total incl", "amount incl",
          "amount payable",
          "factuur totaal", "gesamtbetrag", "rounded total")  # fmt: skip
_INCLUSIVE = ("inclusive", "incl", "incl.", "after tax", "payable", "rounded")
_NOT_TOTAL = ("qty", "quantity", "item", "items", "discount", "disc", "saving", "savings", "points", "rounding",
              "excl", "excluding",
              "exclusive", "before", "summary", "tax", "change", "tender", "tendered", "card", "qty tender",
              "gross")  # fmt: skip
_SUBTOTAL = ("subtotal", "sub total", "subtotaal", "zwischensumme")
_PAID = ("cash", "paid", "tendered", "received", "payment", "tunai", "visa", "mastercard", "amount tendered",
         "paid amount",
         "cash received", "debit", "credit card", "accepted")  # fmt: skip
_CHANGE = ("change", "baki", "wisselgeld", "change due")
_TAX = ("gst", "tax", "vat", "btw", "sst", "mwst", "tva", "service charge")
_ROUNDING = ("rounding", "round adj", "rounding adj", "rounding adjustment")
_SUMMARY = ("gst summary", "tax summary", "gst summery", "gst analysis", "tax code")

_FORM = re.compile(
    r"\b(?:sdn|bhd|berhad|ltd|limited|llc|inc|gmbh|b\.?v|n\.?v|plc|pte|corp|company|enterprise|enterprises|trading|"
    r"restaurant|restoran|cafe|kopitiam|bakery|store|stores|mart|market|supermarket|hypermarket|pharmacy|hardware|stationery|"
    r"stationers|supplies|supply|services|shop|boutique|hotel|books|electrical|motor|group|industries|holdings|retail|"
    r"s/b|sb|co|house|gift|deco|handicraft|tailoring|gallery|centre|center|station)\b\.?",
    re.IGNORECASE,
)  # fmt: skip
_LEGAL = re.compile(
    r"\b(?:sdn|bhd|berhad|ltd|limited|llc|inc|gmbh|b\.v|plc|pte|enterprise|trading|sb)\b", re.IGNORECASE
)
_STREET = re.compile(
    r"\b(?:jalan|jln|jl|lorong|lrg|lot|taman|tmn|persiaran|lebuh|kampung|kg|bandar|seksyen|section|kawasan|batu|road|rd|street|"
    r"avenue|ave|lane|drive|blvd|boulevard|square|plaza|village|level|floor|block|suite|unit|straat|weg|plein|strasse|"
    r"rue|mall|park|damansara|building|menara|wisma|kompleks|medan)\b",
    re.IGNORECASE,
)
_POSTCODE = re.compile(r"(?<!\d)\d{5}(?!\d)|\b\d{4}\s?[A-Z]{2}\b|\b[A-Z]{1,2}\d{1,2}[A-Z]?\s?\d[A-Z]{2}\b")
_REGION = re.compile(
    r"\b(?:johor|selangor|kuala|lumpur|penang|pulau|pinang|perak|melaka|malacca|kedah|pahang|sabah|sarawak|negeri|sembilan|"
    r"kelantan|terengganu|perlis|putrajaya|labuan|malaysia|singapore|darul|ehsan|bahru|kl)\b",
    re.IGNORECASE,
)
_NOT_ADDRESS = re.compile(
    r"\b(?:tel|telephone|phone|fax|hp|h/p|gst|sst|reg|roc|company no|co\.? no|invoice|receipt|date|"
    r"cashier|email|e-mail|www|bill|cash|document|doc|table|pax|order|terminal|id|counter|careline|hotline|customer|website)\b|@|https?:",
    re.IGNORECASE,
)
_PHONE = re.compile(r"[\d\s()+/.-]{6,}")
_CUSTOMER = (
    "bill to",
    "ship to",
    "sold to",
    "billing address",
    "shipping address",
    "factuuradres",
    "afleveradres",
    "attn",
    "customer",
)
_REGISTRATION = re.compile(
    r"\s*[\(\[]\s*(?:co\.?|company|reg|roc|gst|no)?[^()\[\]]*\d{3,}[^()\[\]]*[\)\]]?.*$|\s+\d{5,7}\s?-\s?[A-Z]\b.*$|\s+[fa]ka\s.*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was read; a field that was not found is None."""

    company: Field | None
    date: Field | None
    address: Field | None
    total: Field | None

    def fields(self) -> list[Field]:
        """Those that were found."""
        return [one for one in (self.company, self.date, self.address, self.total) if one]


def read_receipt(lines: Sequence[Region]) -> Receipt:
    """The four fields of a receipt whose lines of text were recognised."""
    rows = page_rows(lines)
    address_rows = _address_rows(rows)
    return Receipt(
        company=_company(rows, address_rows),
        date=_date(rows),
        address=_address(rows, address_rows),
        total=_total(rows),
    )


# --- the total ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Candidate:
    amount: Amount
    line: Region
    row: int
    score: float = 0.0
    checked: str = ""


def _total(rows: Sequence[Row]) -> Field | None:
    every = [_Candidate(amount, line, i) for i, row in enumerate(rows) for line in row.lines for amount in _money(line)]
    if not every:
        return None
    summary = next((i for i, row in enumerate(rows) if says(row.text, *_SUMMARY)), len(rows))
    sums = _Sums(rows, every, summary)
    for one in every:
        one.score, one.checked = _judge(one, rows, summary, sums)
    best = max(every, key=lambda one: (one.score, one.row, one.line.box[0], one.amount.start))
    if best.score <= 0:
        return None
    sure = min(1.0, 0.4 + 0.08 * best.score) * best.line.confidence
    return Field("total", best.amount.text, str(best.amount.value), (best.line.box,), sure, best.checked)


def _money(line: Region) -> list[Amount]:
    return [one for one in amounts(tidy(line.text)) if one.value > 0 and not dates(tidy(line.text))]


def _judge(one: _Candidate, rows: Sequence[Row], summary: int, sums: _Sums) -> tuple[float, str]:
    """How likely this amount is the total, and what arithmetic says for it."""
    text = rows[one.row].text
    score = 0.0
    if says(text, *_SUBTOTAL):
        score += 2.0
    elif says(text, *_TOTAL) or _heading(one, rows):
        score += 6.0
        if says(text, *_FINAL):
            score += 2.5
        if says(text, *_INCLUSIVE):
            score += 1.5
        if says(text, *_NOT_TOTAL) and not says(text, "inclusive", "incl", "nett"):
            score -= 4.5
    elif says(text, *_PAID):
        score += 1.0
    if says(text, *_CHANGE):
        score -= 6.0
    if says(text, *_ROUNDING) and not says(text, "rounded"):
        score -= 5.0
    if one.row > summary:
        score -= 4.0
    rightmost = max(amount.value for line in rows[one.row].lines[-1:] for amount in [*_money(line), one.amount])
    if len(rows[one.row].lines) > 1 and one.line is not rows[one.row].lines[-1] and rightmost != one.amount.value:
        score -= 1.0
    score += 0.6 * min(3, sums.seen(one.amount.value))
    score += 2.0 * one.row / max(1, len(rows))
    checked = sums.confirm(one.amount.value)
    if checked:
        score += 3.5
    if sums.is_unrounded(one.amount.value):
        score -= 4.5
    if one.amount.value == sums.paid and sums.change and sums.change > 0:
        score -= 5.0
    return score, checked


def _heading(one: _Candidate, rows: Sequence[Row]) -> bool:
    """An amount alone in its row, whose word stands in the row above."""
    alone = len(rows[one.row].lines) == 1 and len(amounts(rows[one.row].text)) == 1 and len(rows[one.row].text) < 14
    above = rows[one.row - 1] if one.row else None
    return bool(alone and above and says(above.text, *_FINAL, "total") and not amounts(above.text))


class _Sums:
    """What was paid, given back, taxed and rounded, and which amounts come of it."""

    def __init__(self, rows: Sequence[Row], every: Sequence[_Candidate], summary: int) -> None:
        self._counts: dict[Decimal, int] = {}
        for one in every:
            self._counts[one.amount.value] = self._counts.get(one.amount.value, 0) + 1
        self.paid = self._of(rows, summary, _PAID)
        self.change = self._of(rows, summary, _CHANGE)
        self._before = self._of(rows, summary, _SUBTOTAL) or self._of(
            rows, summary, ("excl", "excluding", "exclusive", "exclusief")
        )
        self._tax = self._of(rows, len(rows), _TAX)
        self._rounding = self._of(rows, summary, _ROUNDING)

    @staticmethod
    def _of(rows: Sequence[Row], end: int, words: tuple[str, ...]) -> Decimal | None:
        for row in reversed(rows[:end]):
            found = [one.value for line in row.lines for one in amounts(tidy(line.text))]
            paid = words is _PAID or words is _CHANGE  # "accepted total" is what was paid
            if found and says(row.text, *words) and (paid or not says(row.text, "total")):
                return found[-1]
        return None

    def seen(self, value: Decimal) -> int:
        """How often the amount stands on the page."""
        return self._counts[value]

    def confirm(self, value: Decimal) -> str:
        """The sum that comes to this amount, in words; "" when none does."""
        if self.paid and self.change and self.paid - self.change == value:
            return f"{self.paid} paid less {self.change} change"
        if self._rounding and value - self._rounding in self._counts:
            return f"{value - self._rounding} rounded by {self._rounding}"
        if self._before and self._tax and self._tax < self._before and self._before + self._tax == value:
            return f"{self._before} and {self._tax} tax"
        return ""

    def is_unrounded(self, value: Decimal) -> bool:
        """Whether the page goes on to round this amount to another one that stands there too."""
        return bool(self._rounding and value + self._rounding in self._counts and abs(self._rounding) < Decimal("0.1"))


# --- the date -----------------------------------------------------------------------------------


def _date(rows: Sequence[Row]) -> Field | None:
    best: tuple[float, Day, Region] | None = None
    for index, row in enumerate(rows):
        previous = rows[index - 1].text if index else ""
        for line in row.lines:
            for day in dates(tidy(line.text)):
                score = 2.0 - 1.5 * index / max(1, len(rows))
                if says(row.text, "date", "datum", "factuurdatum", "tarikh", "invoice date", "factuur datum", "datum"):
                    score += 2.0
                elif says(previous, "date", "datum", "tarikh") and not dates(previous):
                    score += 1.0
                if says(row.text, "invoice date", "factuurdatum", "bill date", "receipt date"):
                    score += 1.0
                if says(
                    row.text,
                    "due",
                    "order date",
                    "orderdatum",
                    "expiry",
                    "expires",
                    "vervaldatum",
                    "delivery",
                    "valid",
                    "before",
                ):
                    score -= 2.5
                if says(row.text, "period", "period from"):
                    score -= 2.0
                if re.search(r"\d{1,2}:\d{2}", row.text):
                    score += 0.8
                if best is None or score > best[0]:
                    best = (score, day, line)
    if best is None:
        return None
    score, day, line = best
    return Field("date", day.text, day.value.isoformat(), (line.box,), min(1.0, 0.5 + 0.12 * score) * line.confidence)


# --- company and address ------------------------------------------------------------------------


def _address_like(text: str) -> float:
    """How much a row looks like a part of an address."""
    text = _REGISTRATION.sub("", text)
    street = bool(_STREET.search(text))
    if _NOT_ADDRESS.search(text) or _PHONE.fullmatch(text) or dates(text) or (amounts(text) and not street):
        return 0.0
    score = 1.5 * street + 1.5 * bool(_POSTCODE.search(text)) + 1.0 * bool(_REGION.search(text))
    score += 0.5 * bool(
        re.match(r"\s*(?:no|lot|unit)?\.?\s?\d+\W+[a-z]", text, re.IGNORECASE)
    ) + 0.5 * text.rstrip().endswith(",")
    return 0.0 if _LEGAL.search(text) and not re.match(r"\s*(?:no|lot|unit)?\W*\d", text, re.IGNORECASE) else score


def _address_rows(rows: Sequence[Row]) -> tuple[int, int]:
    """(first, past the last) of the best run of rows that look like an address, in the upper half."""
    upper = max(8, len(rows) // 2)
    scores = [_address_like(row.text) for row in rows[:upper]]
    best, run = (0.0, 0, 0), 0
    while run < len(scores):
        end = run
        if scores[run] < 1.0:
            run += 1
            continue
        while end < len(scores) and (scores[end] > 0 or (end + 1 < len(scores) and _between(rows, scores, end))):
            end += 1
        total = sum(scores[run:end]) - 0.1 * run
        if total > best[0] and any(score >= 1.5 for score in scores[run:end]):
            best = (total, run, end)
        run = max(end, run + 1)
    return best[1], best[2]


def _between(rows: Sequence[Row], scores: Sequence[float], index: int) -> bool:
    """A row without a sign of its own between two that have one, and that says nothing else."""
    text = rows[index].text
    return scores[index + 1] >= 1.0 and not _NOT_ADDRESS.search(text) and not amounts(text) and not _LEGAL.search(text)


def _address(rows: Sequence[Row], span: tuple[int, int]) -> Field | None:
    first, last = span
    if first == last:
        return None
    lines = [line for row in rows[first:last] for line in row.lines]
    text = " ".join(tidy(line.text) for line in lines)
    confidence = sum(line.confidence for line in lines) / len(lines)
    return Field("address", text, text, tuple(line.box for line in lines), confidence)


def _company(rows: Sequence[Row], address: tuple[int, int]) -> Field | None:
    top = max(address[1], 9)
    heights = sorted(line.box[3] - line.box[1] for row in rows for line in row.lines)
    usual = heights[len(heights) // 2] if heights else 1.0
    best: tuple[float, str, Region] | None = None
    for index, row in enumerate(rows):
        for line in row.lines:
            text = _name(line.text)
            if index >= top and not _LEGAL.search(text):
                continue
            score = _company_like(text, line, usual) - min(2.0, 0.15 * index)
            before = address[0] - index if address[0] < address[1] else 0
            score += 1.2 if before == 1 else 0.8 if before == 2 else 0.0
            score -= 2.5 if address[0] <= index < address[1] and not _LEGAL.search(text) else 0.0
            score -= 3.0 if _is_customer(rows, index, line) else 0.0
            if text and (best is None or score > best[0]):
                best = (score, text, line)
    if best is None or best[0] < -2:
        return None
    return Field("company", best[1], best[1], (best[2].box,), min(1.0, 0.5 + 0.08 * best[0]) * best[2].confidence)


def _name(text: str) -> str:
    """Without registration numbers, labels and the strokes recognisers see between words."""
    text = _REGISTRATION.sub("", tidy(text))
    text = re.sub(r"^(?:sold by|seller|vendor|supplier|from|issued by)\s*:\s*", "", text, flags=re.IGNORECASE)
    text = re.sub(r"[-_](?=sdn\b)", " ", text, flags=re.IGNORECASE)
    return text.strip(" -:,*")


def _is_customer(rows: Sequence[Row], index: int, line: Region) -> bool:
    """Whether a line stands below a heading like "bill to" (two rows at most) or holds it."""
    for row in rows[max(0, index - 2) : index + 1]:
        for other in row.lines:
            beside = min(other.box[2], line.box[2]) - max(other.box[0], line.box[0])
            if beside > 0 and says(other.text, *_CUSTOMER):
                return True
    return False


def _company_like(text: str, line: Region, usual: float) -> float:
    alphabetic = [c for c in text if c.isalpha()]
    if len(alphabetic) < 4 or len(alphabetic) < 0.6 * len(text.replace(" ", "")):
        return -9.0
    score = 3.0 * bool(_LEGAL.search(text)) + 1.5 * bool(_FORM.search(text))
    score += 1.0 * (sum(c.isupper() for c in alphabetic) > 0.6 * len(alphabetic))
    score -= 2.0 * (text == text.lower())
    score += min(1.5, max(0.0, (line.box[3] - line.box[1]) / max(usual, 1) - 1.0))
    score -= 4.0 * says(
        text, "invoice", "receipt", "tax invoice", "cash bill", "factuur", "thank you", "welcome", "bill to", "rechnung"
    )
    score -= 3.0 * bool(_NOT_ADDRESS.search(text)) + 3.0 * bool(dates(text))
    return score
