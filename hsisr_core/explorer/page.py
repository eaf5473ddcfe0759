"""An explorer without a kernel: one piece of HTML that holds the script, the styles, the data and a picture."""

from __future__ import annotations

import base64
import html
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("explorer.js").read_text(encoding="utf-8")
STYLES = Path(__file__).with_name("explorer.css").read_text(encoding="utf-8")


def static_page(state: Mapping[str, Any], buffers: list[bytes], picture: bytes, caption: str) -> str:
    """A ``div`` that holds everything, a module that draws into it, and a PNG where no scripts run."""
    place = f"hsisr-explorer-{uuid.uuid4().hex[:12]}"
    content = {"state": dict(state), "data": [base64.b64encode(buffer).decode() for buffer in buffers]}
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    source = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    return (
        f'<div class="hsisr-explorer" id="{place}" data-explorer="{state["_meta"]["id"]}"><style>{STYLES}</style>'
        f'<script type="application/json">{text}</script>'
        f'<noscript><img alt="{html.escape(caption)}" src="{source}"></noscript></div>'
        f'<script type="module">{SCRIPT}\nmountPage(document.getElementById("{place}"));</script>'
    )
