"""What the script of a report's page reads, read back from the file."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any

_ISLAND = re.compile(r'<script type="application/octet-stream" id="data-([\w-]+)">([A-Za-z0-9+/=]*)</script>')


def islands(html: str) -> dict[str, Any]:
    """Return the data of a page by the name of its island: ``main``, ``values-0``, ``details-0``."""
    return {name: json.loads(zlib.decompress(base64.b64decode(text))) for name, text in _ISLAND.findall(html)}
