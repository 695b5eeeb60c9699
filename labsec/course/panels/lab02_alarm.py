"""What an alarm of lab 02 is worth: whom it catches, and whom it accuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from labsec import robust
from labsec.federation.engine import rounds
from labsec.federation.scenario import Scenario


def shares(alarm: Callable[[Tensor], Tensor], scenario: Scenario) -> tuple[float, float]:
    """The shares of the honest and of the malicious messages that raise an alarm, in 50 rounds under the median.

    alarm      messages [k, dim] -> [k] of bool
    returns    accused, caught; caught is 0 where nobody is malicious

    The malicious clients are the first ones. A server does not know that; whoever judges its alarm does.
    """
    honest: list[bool] = []
    malicious: list[bool] = []
    for result in rounds(replace(scenario, rounds=50, aggregate=robust.median, evaluate_every=50)):
        ringing = alarm(result.messages)
        bad = result.clients < scenario.malicious_count
        honest += ringing[~bad].tolist()
        malicious += ringing[bad].tolist()
    return sum(honest) / len(honest), sum(malicious) / max(len(malicious), 1)
