"""How JupyterLab's server passes a kernel's messages on to the page: at once.

`labsec/jupyter_server_config.json` names the class, and `labsec open` makes JupyterLab read that file. Only the server
imports this module, so that it costs the server neither torch nor Matplotlib.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """Jupyter's own connection, without Nagle's algorithm.

    The algorithm holds a small message back until the one before has been acknowledged, and the browser acknowledges
    after 40 ms. A panel's answer begins with three small messages, so each of its first pictures came 20 to 40 ms late,
    and dragging, where a slider waits for the answer before it sends its next value, moved half as often.
    """

    def connect(self) -> Any:
        """Begin to pass messages on."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()
