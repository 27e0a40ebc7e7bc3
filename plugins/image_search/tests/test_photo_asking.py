"""What a request for photos asks for, read from its words."""

import pytest
from omni_image_search.asking import read_difference, read_wanted


@pytest.mark.parametrize(
    ("request_", "read"),
    [
        ("find my photos of a lighthouse", {"what": "lighthouse"}),
        ("show me pictures of two boats in the fog please", {"what": "two boats in the fog"}),
        ("search my photo collection for tulips", {"what": "tulips"}),
        (
            "do I have any pics from the concert in 2019",
            {"what": "concert", "after": "2019", "before": "2020"},
        ),
        ("photos of lakes taken before 2012", {"what": "lakes", "before": "2012"}),
        ("photos of lakes since May 2021", {"what": "lakes", "after": "2021-05"}),
        ("photos of lakes from December 2020", {"what": "lakes", "after": "2020-12", "before": "2021-01"}),
        ("I'd like the photos of the gate", {"what": "gate"}),
        ("pictures of trees but without people", {"what": "trees", "without": "people"}),
        ("pictures of the party, but none with the dog in them", {"what": "party", "without": "dog"}),
        ("photos of the lake last summer", None),
        ("show me photos", None),
        ("I adore photos of trains", None),
        ("why do photos turn yellow", None),
        ("show me photos of it", None),
        ("tell me a story about a dragon", None),
    ],
)
def test_what_is_wanted_is_read_from_the_words(request_, read):
    assert read_wanted(request_) == read


def test_a_likeness_may_differ_in_a_way():
    assert read_difference("more like this one") == {}
    assert read_difference("photos of boats but no people") == {}
    assert read_difference("more like this image but in winter") == {"what": "in winter"}
