"""Images named by URL, downloaded once while rows are loaded."""

from __future__ import annotations

import time
from http.client import HTTPException, InvalidURL
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

MAX_BYTES = 50 * 2**20
_TIMEOUT_SECONDS = 20
_PAUSES_SECONDS = (1, 4)  # before the second and the third try


def is_url(image: str) -> bool:
    return image.lower().startswith(("http://", "https://"))


def fetch_image(url: str) -> bytes:
    """Return the encoded bytes behind `url`, at most MAX_BYTES of them.

    A network that fails is tried three times; what the server answers is final. Raise ValueError that says what is
    wrong.
    """
    for pause in (*_PAUSES_SECONDS, None):
        try:
            return _download(url)
        except HTTPError as error:
            raise ValueError(f"the server answers {error.code} {error.reason}") from error
        except (InvalidURL, UnicodeError) as error:
            raise ValueError(f"not a valid URL: {error}") from error
        except (OSError, HTTPException) as error:
            if pause is None:
                raise ValueError(f"cannot be fetched in {len(_PAUSES_SECONDS) + 1} tries: {error}") from error
            time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _download(url: str) -> bytes:
    # Spaces and letters beyond ASCII are common in image names; what is quoted already stays. Some servers refuse
    # Python's default agent.
    request = Request(quote(url, safe=":/?#[]@!$&'()*+,;=%~"), headers={"User-Agent": "pepo_rlhf"})
    with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
        data = response.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES / 2**20:g} MiB")
        if response.length:
            raise ConnectionError(f"the connection closed {response.length} bytes before the end")
    return data
