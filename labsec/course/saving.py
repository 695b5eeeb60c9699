"""What Jupyter's server leaves out when it saves a notebook: widgets, which are dead when it is opened again.

`labsec/jupyter_server_config.json` names the hook. The open page keeps its widgets.
"""

from __future__ import annotations

from typing import Any

WIDGET = "application/vnd.jupyter.widget-view+json"


def without_widgets(model: dict[str, Any], **_: Any) -> None:
    """Drop the widget of each output that has a picture or words beside it; called before a file is written.

    >>> shown = {"data": {WIDGET: {"model_id": "1"}, "text/html": "<img>"}}
    >>> saved = {"type": "notebook", "content": {"nbformat": 4, "cells": [{"outputs": [shown]}]}}
    >>> without_widgets(saved)
    >>> shown
    {'data': {'text/html': '<img>'}}
    """
    if model["type"] != "notebook" or model["content"] is None:
        return
    for cell in model["content"]["cells"]:
        for output in cell.get("outputs", ()):
            if "text/html" in output.get("data", {}):
                output["data"].pop(WIDGET, None)
