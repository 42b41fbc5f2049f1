"""Reasons that keep a row out: each is an exception, which the dataset report counts by its `reason`."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reasons that keep a row out, in the order in which they are looked for."""

    PROTOCOL = "left out by the benchmark's protocol"
    SCHEMA = "records of another schema"
    ANSWER = "unparsable answers"
    TEXT = "texts that are missing or cannot be encoded"
    IMAGE = "images that do not decode"
    PLACEHOLDERS = "placeholder mismatches"
    LENGTH = "prompts that do not fit"


class BadRow(ValueError):
    """A row or record that cannot be used; the message says why and how to mend it."""

    reason = Reason.SCHEMA


class OutsideProtocol(BadRow):
    """A record that the benchmark's published protocol leaves out."""

    reason = Reason.PROTOCOL


class LabelError(BadRow):
    """An answer that is missing, or that no label can be made of."""

    reason = Reason.ANSWER


class BadText(BadRow):
    """A prompt or label that is missing, damaged, or holds tokens of the model."""

    reason = Reason.TEXT


class BadImage(BadRow):
    """An image that is missing, damaged or of an unusable size."""

    reason = Reason.IMAGE


class TooLong(BadRow):
    """A prompt that leaves no room for a response."""

    reason = Reason.LENGTH


class PlaceholderMismatch(BadRow):
    """A prompt whose placeholders are not as many as its images."""

    reason = Reason.PLACEHOLDERS
