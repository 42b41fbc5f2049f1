"""Reasons that keep a row out: each is an exception, which the dataset report counts by its `reason`."""

from __future__ import annotations


class BadRow(ValueError):
    """A row or record that cannot be used; the message says why and how to mend it."""

    reason = "records of another schema"


class OutsideProtocol(BadRow):
    """A record that the benchmark's published protocol leaves out."""

    reason = "left out by the benchmark's protocol"


class LabelError(BadRow):
    """An answer that is missing, or that no label can be made of."""

    reason = "unparsable answers"


class BadText(BadRow):
    """A prompt or label that is missing, damaged, or holds tokens of the model."""

    reason = "texts that are missing or cannot be encoded"


class BadImage(BadRow):
    """An image that is missing, damaged or of an unusable size."""

    reason = "images that do not decode"


class TooLong(BadRow):
    """A prompt that leaves no room for a response."""

    reason = "prompts that do not fit"


class PlaceholderMismatch(BadRow):
    """A prompt whose placeholders are not as many as its images."""

    reason = "placeholder mismatches"


# In the order in which they are looked for.
REASONS = [
    kind.reason for kind in (OutsideProtocol, BadRow, LabelError, BadText, BadImage, PlaceholderMismatch, TooLong)
]
