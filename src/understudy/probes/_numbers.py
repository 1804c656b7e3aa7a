"""Numbers in digits, as they stand in a rationale."""

from __future__ import annotations

import re

NUMBER = re.compile(r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\w)|(?<![\w.])\d{1,30}(?:\.\d{1,30})?(?!\w)")
