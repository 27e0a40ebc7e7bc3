"""Which requests ask for a place in the documents, and for which."""

import pytest
from omni_rag.tools import _place_wanted, _question


@pytest.mark.parametrize(
    ("request_", "query"),
    [
        ("find the page in my papers about mortgages", "page in my papers about mortgages"),
        ("show me all passages on child care in the handbook", "passages on child care in the handbook"),
        ("what is on the web page", None),
        ("on which page is the parts list", "page is the parts list"),
        ("search my documents for cork oak.", "cork oak"),
        ("which of my PDFs mentions the deposit", "the deposit"),
        ("what does the manual say about noise", None),
        ("how long is the notice period in my contract", None),
    ],
)
def test_a_place_is_asked_for(request_, query):
    assert _place_wanted(request_) == ({"query": query} if query else None)


@pytest.mark.parametrize(
    ("request_", "asks"),
    [
        ("how do I bleed the radiator according to the manual", True),
        ("does my lease allow a dog, what do you think", True),
        ("what does the attached contract say", False),
        ("what did we talk about when I read the report", False),
        ("nobody reads the manual", False),
        ("find the page in the handbook about sick leave", False),
        ("tell me a story about a dragon", False),
    ],
)
def test_a_question_names_the_document_it_is_asked_of(request_, asks):
    assert _question(request_) == ({"question": request_} if asks else None)
